"""A service level: the share of all requests that are to be answered rightly within a time, as in ``p99=20ms``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mlserve.errors import UsageError

_UNITS_S = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
_FORM = re.compile(
    r"\s*p(?P<whole>\d{1,2})(?:\.?(?P<part>\d+))?\s*=\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>us|µs|ms|s)\s*"
)


@dataclass(frozen=True, slots=True)
class Slo:
    """``percentile`` percent of the requests within ``limit_s`` seconds; ``text`` is how it was written."""

    percentile: float
    limit_s: float
    text: str = field(default="", compare=False)

    @property
    def share(self) -> float:
        """The percentile as a share of 1."""
        return round(self.percentile / 100, 9)

    def is_met(self, requests: int, within: int) -> bool:
        """Whether ``within`` of ``requests`` are enough; no request at all meets nothing.

        >>> parse_slo("p99=50ms").is_met(1000, 990), parse_slo("p99=50ms").is_met(1000, 989)
        (True, False)
        """
        return requests > 0 and within >= self.share * requests - 1e-9


def parse_slo(text: str) -> Slo:
    """The level that ``text`` spells: a percentile, and the time it may take in µs, ms or s. Raises UsageError.

    >>> parse_slo("p99.9=1.5s").percentile, parse_slo("p999=1.5s").percentile
    (99.9, 99.9)
    """
    found = _FORM.fullmatch(text)
    if found is None or not float(found["number"]):
        raise _refusal(text)
    percentile = float(f"{found['whole']}.{found['part'] or 0}")
    if not percentile:
        raise _refusal(text)
    return Slo(percentile, float(found["number"]) * _UNITS_S[found["unit"]], text.strip())


def _refusal(text: str) -> UsageError:
    return UsageError(f"'{text}' is not a percentile and a time", hint="such as p99=20ms (us, ms or s)")
