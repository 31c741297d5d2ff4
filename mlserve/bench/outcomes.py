"""What some load brought: latencies of right answers, failures by kind, and what the generator itself did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mlserve.stats.latencies import Latencies

LOST = "connection lost"
REFUSED = "connection refused"
UNANSWERED = "unanswered"
WRONG = "wrong answer"


@dataclass(slots=True)
class Outcome:
    """One stretch of load. Requests are counted by when they were sent (closed loop) or due (open loop).

    A closed loop's requests lie across both ends of the stretch; of each, the part of its time that lies within counts
    towards the rate. ``across`` is what that adds to the whole number of those counted.

    ``failures`` are counted by kind, an HTTP status among them as ``status 429``. ``lags`` say how late the generator
    itself sent what was due; ``cpu_s`` is what it used. ``took_s`` is the stretch that requests were counted in,
    with the time after it that an open loop's answers took.
    """

    took_s: float
    latencies: Latencies = field(default_factory=Latencies)
    failures: Counter[str] = field(default_factory=Counter)
    lags: Latencies = field(default_factory=Latencies)
    cpu_s: float = 0.0
    across: float = 0.0

    @property
    def answered(self) -> int:
        """How many requests were answered rightly."""
        return self.latencies.count

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    @property
    def requests(self) -> int:
        """All that were counted, whatever became of them."""
        return self.answered + self.failed

    @property
    def rps(self) -> float:
        """Right answers a second."""
        return max(0.0, self.answered + self.across) / self.took_s

    def add(self, other: Outcome) -> None:
        """Add what another generator brought in the same stretch."""
        self.took_s = max(self.took_s, other.took_s)
        self.latencies.merge(other.latencies)
        self.lags.merge(other.lags)
        self.failures.update(other.failures)
        self.cpu_s += other.cpu_s
        self.across += other.across

    def note_early(self, due_s: float, now_s: float, began_s: float, end_s: float) -> None:
        """A right answer to what was sent before the stretch began, of which a part may lie within."""
        if now_s > began_s:
            self.across += (min(now_s, end_s) - began_s) / (now_s - due_s)

    def note_late(self, due_s: float, now_s: float, end_s: float) -> None:
        """A right answer, counted as one, to what was sent within the stretch and answered after its end."""
        self.across -= (now_s - end_s) / (now_s - due_s)


def after(first: Outcome, second: Outcome) -> Outcome:
    """Both, one after the other."""
    whole = Outcome(0.0)
    whole.add(first)
    whole.add(second)
    whole.took_s = first.took_s + second.took_s
    return whole
