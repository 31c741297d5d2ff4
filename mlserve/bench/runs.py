"""``Run``: the figures of one point of load, out of the outcomes of its repeats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlserve.bench.intervals import Interval, t_interval
from mlserve.bench.outcomes import Outcome, after
from mlserve.core.slo import Slo

BUSY_SHARE = 0.7
"""Beyond this part of what the generator itself can do, its own limit shows in the figures."""
_SHARES = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "p999_ms": 0.999}
_CURVE_POINTS = 200


@dataclass(frozen=True, slots=True)
class Point:
    """One load: ``rate`` None is a closed loop of ``concurrency`` clients, else so many requests a second are due."""

    concurrency: int
    rate: float | None = None

    def __str__(self) -> str:
        clients = "client" if self.concurrency == 1 else "clients"
        return f"{self.concurrency} {clients}" if self.rate is None else f"{self.rate:g}/s due"


@dataclass(frozen=True, slots=True)
class Run:
    """One point's figures: all repeats together, and ``parts``, each repeat by itself, for the intervals.

    ``rows`` are those of one request. ``ceiling_rps`` is what the generator does against a constant responder.
    """

    point: Point
    whole: Outcome
    parts: Sequence[Outcome]
    rows: int = 1
    slo: Slo | None = None
    price_per_hour: float | None = None
    ceiling_rps: float | None = None

    @property
    def is_slo_met(self) -> bool | None:
        """None where none was asked for."""
        return None if self.slo is None else self.slo.is_met(self.whole.requests, self._within)

    @property
    def is_generator_bound(self) -> bool:
        """Whether the generator was so close to its own ceiling that it may have been the limit."""
        return self.ceiling_rps is not None and self.whole.rps > BUSY_SHARE * self.ceiling_rps

    @property
    def goodput_rps(self) -> float:
        """Right answers within the SLO a second; all right answers where there is none."""
        return self.whole.rps * self._within / max(1, self.whole.answered)

    @property
    def cost_per_million(self) -> float | None:
        """The price of a million predictions (rows) at this throughput, in the price's currency."""
        rows_per_hour = self.whole.rps * self.rows * 3600
        if self.price_per_hour is None or not rows_per_hour:
            return None
        return self.price_per_hour / rows_per_hour * 1e6

    @property
    def _within(self) -> int:
        return self.whole.answered if self.slo is None else self.whole.latencies.within(self.slo.limit_s)

    def to_dict(self) -> dict[str, Any]:
        """JSON values; intervals are at 95 %, by Student's t over the repeats, null for a single one."""
        whole = self.whole
        parts_p99 = [1e3 * part.latencies.percentiles_s([0.99])[0] for part in self.parts if part.answered]
        lag_ms = 1e3 * whole.lags.percentiles_s([0.99])[0]
        return {
            "concurrency": self.point.concurrency,
            "rate": self.point.rate,
            "requests": whole.requests,
            "errors": whole.failed,
            "rps": whole.rps,
            **self.percentiles_ms(),
            "goodput_rps": self.goodput_rps,
            "cost_per_million": self.cost_per_million,
            "slo_met": self.is_slo_met,
            "rows_per_s": whole.rps * self.rows,
            "duration_s": whole.took_s,
            "repeats": len(self.parts),
            "rps_interval": _listed(t_interval([part.rps for part in self.parts])),
            "p99_ms_interval": _listed(t_interval(parts_p99)),
            "failures": dict(whole.failures),
            "send_lag_p99_ms": None if math.isnan(lag_ms) else lag_ms,
            "generator_ceiling_rps": self.ceiling_rps,
            "generator_cpu_us": 1e6 * whole.cpu_s / whole.requests if whole.requests else None,
        }

    def percentiles_ms(self) -> dict[str, float | None]:
        """p50_ms, p90_ms, p99_ms and p999_ms of right answers; None where there were none."""
        found = self.whole.latencies.percentiles_s(list(_SHARES.values()))
        return {name: None if math.isnan(s) else 1e3 * s for name, s in zip(_SHARES, found, strict=True)}

    def curve_ms(self) -> list[tuple[float, float]]:
        """The distribution function of the latencies, thinned for a picture: milliseconds, share."""
        curve = self.whole.latencies.curve()
        step = max(1, len(curve) // _CURVE_POINTS)
        kept = curve[::step] + ([curve[-1]] if curve and (len(curve) - 1) % step else [])
        return [(1e3 * seconds, share) for seconds, share in kept]


def run_of(
    point: Point,
    parts: Sequence[Outcome],
    *,
    rows: int,
    slo: Slo | None,
    price_per_hour: float | None,
    ceiling_rps: float | None,
) -> Run:
    """The run that these repeats of ``point`` make."""
    whole = parts[0]
    for part in parts[1:]:
        whole = after(whole, part)
    return Run(point, whole, parts, rows, slo, price_per_hour, ceiling_rps)


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)
