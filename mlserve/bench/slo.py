"""Service levels such as ``p99=50ms``: parsed, and judged over everything that was asked, failures too."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlserve.errors import UsageError

_SLO = re.compile(r"p(\d{1,2}(?:\.\d+)?)\s*=\s*(\d+(?:\.\d+)?)\s*(us|µs|ms|s)")
_UNITS_S = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True)
class Slo:
    """``share`` of all requests must be answered rightly within ``limit_s``; ``text`` is how it was written."""

    share: float
    limit_s: float
    text: str

    def is_met(self, requests: int, within: int) -> bool:
        """Whether ``within`` of ``requests`` are enough; no request at all meets nothing.

        >>> parse_slo("p99=50ms").is_met(1000, 990), parse_slo("p99=50ms").is_met(1000, 989)
        (True, False)
        """
        return requests > 0 and within >= self.share * requests - 1e-9


def parse_slo(text: str) -> Slo:
    """The level that ``text`` spells: a percentile, and the time it may take in µs, ms or s. Raises UsageError.

    >>> parse_slo("p99.9=1.5s").share, parse_slo("p99.9=1.5s").limit_s
    (0.999, 1.5)
    """
    found = _SLO.fullmatch(text.strip())
    if found is None or not 0 < float(found[1]) < 100 or not float(found[2]) > 0:
        raise UsageError(f"'{text}' is not a percentile and a time", hint="such as p99=50ms")
    return Slo(round(float(found[1]) / 100, 9), float(found[2]) * _UNITS_S[found[3]], text.strip())
