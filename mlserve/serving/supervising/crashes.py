"""What became of the workers of each seat: who is there, how often one had to be started again, and what for."""

from __future__ import annotations

from mlserve.errors import MlserveError
from mlserve.serving.metrics.families import Family, Point
from mlserve.serving.supervising.backoff import Backoff

_PASSES_BY_ITSELF = (1, 8)
"""Exit codes of what may be otherwise the next time: a crash, or something out of reach."""


class Crashes:
    """The book of ``count`` seats, all of them taken by workers that are ready."""

    def __init__(self, count: int) -> None:
        self._backoffs = [Backoff() for _ in range(count)]
        self._restarts = [0] * count
        self._errors: list[MlserveError | None] = [None] * count
        self.lost: set[int] = set()

    def note_lost(self, seat: int, lived_s: float) -> dict[str, float]:
        """The worker of ``seat`` ended by itself after ``lived_s``; when to start another, as events tell it."""
        self.lost.add(seat)
        return self._after(seat, lived_s)

    def note_failed(self, seat: int, error: MlserveError, lived_s: float) -> dict[str, float]:
        """A successor ended before it was ready; when to start another, as events tell it."""
        self._errors[seat] = error
        return self._after(seat, lived_s)

    def note_start(self, seat: int) -> None:
        """A successor begins."""
        self._restarts[seat] += 1

    def note_ready(self, seat: int) -> None:
        """There is a worker in ``seat``."""
        self.lost.discard(seat)
        self._errors[seat] = None

    @property
    def hopeless(self) -> MlserveError | None:
        """Why no worker can ever start again: in no seat is one, and in each the last failed for good."""
        errors = [error for error in self._errors if error is not None and error.exit_code not in _PASSES_BY_ITSELF]
        return errors[0] if len(errors) == len(self._errors) and len(self.lost) == len(self._errors) else None

    def families(self) -> list[Family]:
        """The same as metrics."""
        seats = range(len(self._restarts))
        return [
            Family(
                "mlserve_worker_restarts",
                "counter",
                "Starts of a worker in place of one that ended by itself.",
                [Point((("worker", str(seat)),), float(self._restarts[seat])) for seat in seats],
            ),
            Family(
                "mlserve_worker_ready",
                "gauge",
                "Whether there is a worker in each place that answers.",
                [Point((("worker", str(seat)),), float(seat not in self.lost)) for seat in seats],
            ),
        ]

    def _after(self, seat: int, lived_s: float) -> dict[str, float]:
        backoff = self._backoffs[seat]
        wait_s = backoff.after(lived_s)
        return {"crashes": backoff.in_a_row, "restart_in_s": wait_s}
