"""What a generator is asked to do, and the port through which every kind of generator is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mlserve.bench.arrivals import Offsets
from mlserve.bench.outcomes import Outcome


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of load. ``due`` None is a closed loop; else the times of an open loop, in seconds from the start.

    ``concurrency`` is how many requests may be under way. Those sent (or due) in the first ``warmup_s`` do not count,
    those in the ``duration_s`` after it do, and may be answered until ``drain_s`` later; then they are unanswered.
    """

    concurrency: int
    duration_s: float
    warmup_s: float = 0.0
    due: Offsets | None = None
    drain_s: float = 5.0


class Driver(Protocol):
    """Load for one target."""

    def run(self, stretch: Stretch, on_turn: Callable[[], None]) -> Outcome:
        """Do ``stretch``; ``on_turn`` is called some times a second. Raises Unavailable if nobody answers."""

    def ceiling(self, stretch: Stretch) -> Outcome | None:
        """The same against something that answers at once, with the same bytes: what the generator itself can do.

        None where that cannot be measured.
        """
