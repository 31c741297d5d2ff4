"""A latency objective: the share of requests that should be answered within a time, as in ``p99=20ms``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlserve.errors import UsageError

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p999": 99.9}
_UNITS_S = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
_FORM = re.compile(r"\s*(?P<percentile>p\d+)\s*=\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>us|µs|ms|s)\s*")


@dataclass(frozen=True, slots=True)
class Slo:
    """``percentile`` percent of the requests within ``limit_s`` seconds."""

    percentile: float
    limit_s: float


def parse_slo(text: str) -> Slo:
    """The objective that ``text`` says. Raises UsageError for anything else than PERCENTILE=DURATION.

    >>> parse_slo("p99=20ms")
    Slo(percentile=99.0, limit_s=0.02)
    """
    match = _FORM.fullmatch(text)
    if match is None or match["percentile"] not in PERCENTILES or float(match["number"]) == 0.0:
        raise UsageError(f"'{text}' is no latency objective", hint=f"p99=20ms ({', '.join(PERCENTILES)}; us, ms or s)")
    return Slo(PERCENTILES[match["percentile"]], float(match["number"]) * _UNITS_S[match["unit"]])
