"""What a worker knows of its place among the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Seat:
    """Worker ``number`` of ``count``; ``folder`` is private to the workers of one supervisor.

    ``listeners`` are the inherited sockets of all seats, by seat. One that ``succeeds`` another listens when it is
    ready and not before: clients that come meanwhile are answered by others, or wait.
    """

    number: int
    count: int
    folder: Path
    listeners: tuple[tuple[int, ...], ...] = ()
    succeeds: bool = False

    def share_of(self, cores: int) -> int:
        """How many of ``cores`` are this worker's: an equal share, the first workers taking what is left over.

        >>> [Seat(number, 3, Path()).share_of(4) for number in range(3)]
        [2, 1, 1]
        """
        share, left = divmod(cores, self.count)
        return max(1, share + (1 if self.number < left else 0))
