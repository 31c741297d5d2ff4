"""A time as people write it: ``300s``, ``5m``, ``1.5h``, ``7d``, ``200ms``."""

from __future__ import annotations

import re
from datetime import timedelta

from mlserve.errors import InvalidConfig, UsageError

_UNITS_S = {"ms": 1e-3, "": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_FORM = re.compile(r"\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|min|m|h|d|)\s*")


def parse_duration(text: str, option: str) -> float:
    """The seconds that ``text`` spells; a number alone is seconds. Raises UsageError, also for none at all.

    >>> parse_duration("1.5h", "--budget"), parse_duration("20", "--budget"), parse_duration("7d", "--horizon")
    (5400.0, 20.0, 604800.0)
    """
    found = _FORM.fullmatch(text)
    seconds = 0.0 if found is None else float(found["number"]) * _UNITS_S[found["unit"]]
    if not 0.0 < seconds < 1e9:
        raise UsageError(f"{option} '{text}' is not a time", hint=f"{option} 300s (ms, s, m, h or d)")
    return seconds


def length_of(text: str, setting: str) -> timedelta:
    """The same of a setting, as a length of time. Raises InvalidConfig.

    >>> length_of("36h", "drift.debounce")
    datetime.timedelta(days=1, seconds=43200)
    """
    try:
        return timedelta(seconds=parse_duration(text, setting))
    except UsageError as error:
        raise InvalidConfig(error.message, hint=error.hint) from error
