"""How long a worker that ended by itself stays down: longer each time, and from the start again once one has held."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_S = 0.5
LAST_S = 30.0
HELD_S = 60.0
"""A worker that lived this long was a good one."""


@dataclass(slots=True)
class Backoff:
    """One seat's patience; ``in_a_row`` counts the workers that did not hold, and the last.

    >>> backoff = Backoff()
    >>> [backoff.after(lived_s) for lived_s in (1, 1, 1, 100)]
    [0.5, 1.0, 2.0, 0.5]
    """

    in_a_row: int = 0
    _next_s: float = FIRST_S

    def after(self, lived_s: float) -> float:
        """Seconds to wait before the next start, after a worker that lived so long."""
        if lived_s >= HELD_S:
            self._next_s, self.in_a_row = FIRST_S, 0
        self.in_a_row += 1
        wait_s, self._next_s = self._next_s, min(LAST_S, 2 * self._next_s)
        return wait_s
