"""What some load brought: latencies of right answers, failures by kind, and what the generator itself did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mlserve.bench.latencies import Latencies

LOST = "connection lost"
REFUSED = "connection refused"
UNANSWERED = "unanswered"
WRONG = "wrong answer"


@dataclass(slots=True)
class Outcome:
    """One stretch of load. Requests are counted by when they were sent (closed loop) or due (open loop).

    ``failures`` are counted by kind, an HTTP status among them as ``status 429``. ``lags`` say how late the generator
    itself sent what was due; ``cpu_s`` is what it used. ``took_s`` is the stretch that requests were counted in.
    """

    took_s: float
    latencies: Latencies = field(default_factory=Latencies)
    failures: Counter[str] = field(default_factory=Counter)
    lags: Latencies = field(default_factory=Latencies)
    cpu_s: float = 0.0

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
        return self.answered / self.took_s

    def add(self, other: Outcome) -> None:
        """Add what another generator brought in the same stretch."""
        self.latencies.merge(other.latencies)
        self.lags.merge(other.lags)
        self.failures.update(other.failures)
        self.cpu_s += other.cpu_s


def after(first: Outcome, second: Outcome) -> Outcome:
    """Both, one after the other."""
    whole = Outcome(first.took_s + second.took_s)
    whole.add(first)
    whole.add(second)
    return whole
