"""Which rows a check is of, and what they are held against: pure functions of words, moments and counts.

--window 24h        the last day                      --ref training               the profile's reference
--window n=5000     the last 5,000 rows                     previous               as much, right before
--window since-last what no check has looked at yet         same-hour-last-week    the same hours, a week ago
--window DATA       a file or a capture
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from mlserve.core.durations import parse_duration
from mlserve.core.evidence import isoformat
from mlserve.errors import UsageError

Against = Literal["training", "previous", "same-hour-last-week"]
Supply = Literal["enough", "insufficient", "stale"]

WEEK = timedelta(days=7)
SETTLED = timedelta(seconds=2)
"""Servers have on disk what arrived a second ago; a window ends before what may still be under way."""
CATCH_UP = timedelta(days=7)
"""So far back ``since-last`` looks at most: after a long silence nobody waits for a check of a year."""
STALE_AFTER = timedelta(hours=24)
FEWEST_ROWS = 100
"""Of fewer rows no test of half a standard deviation has a chance."""

_ROWS = re.compile(r"n\s*=\s*(\d+)")
_SPAN = re.compile(r"\s*\d+(\.\d+)?\s*(ms|s|min|m|h|d)\s*")


@dataclass(frozen=True, slots=True)
class LastSpan:
    """The rows of the last ``span``."""

    span: timedelta


@dataclass(frozen=True, slots=True)
class LastRows:
    """The last ``rows`` rows, whenever they came."""

    rows: int


@dataclass(frozen=True, slots=True)
class SinceLast:
    """The rows that came since the last check."""


@dataclass(frozen=True, slots=True)
class DataAt:
    """The rows of a data file, or of a capture, all of them."""

    path: Path


WindowWords = LastSpan | LastRows | SinceLast | DataAt


@dataclass(frozen=True, slots=True)
class Bounds:
    """From ``start`` on and before ``end``; ``rows`` are the last so many before ``end``, None for all.

    ``skipped_from`` is where an unchecked time begins that lies too far back to be looked at.
    """

    start: datetime | None
    end: datetime | None
    rows: int | None = None
    skipped_from: datetime | None = None

    @property
    def span(self) -> timedelta | None:
        return None if self.start is None or self.end is None else self.end - self.start


def parse_window(text: str) -> WindowWords:
    """What ``--window`` says. Raises UsageError for no rows, or no time.

    >>> parse_window("24h"), parse_window("n=5000"), parse_window("since-last")
    (LastSpan(span=datetime.timedelta(days=1)), LastRows(rows=5000), SinceLast())
    """
    if text == "since-last":
        return SinceLast()
    if (rows := _ROWS.fullmatch(text)) is not None:
        if int(rows[1]) < 1:
            raise UsageError(f"--window '{text}' is of no rows", hint="--window n=5000")
        return LastRows(int(rows[1]))
    if _SPAN.fullmatch(text):
        return LastSpan(timedelta(seconds=parse_duration(text, "--window")))
    if not text.strip():
        raise UsageError("--window is empty", hint="--window 24h, n=5000, since-last or a file")
    return DataAt(Path(text))


def parse_against(text: str) -> Against:
    """What ``--ref`` says. Raises UsageError."""
    match text:
        case "training" | "previous" | "same-hour-last-week":
            return text
        case _:
            hint = "training, previous or same-hour-last-week"
            raise UsageError(f"--ref '{text}' is nothing to hold a window against", hint=hint)


def bounds_of(
    words: WindowWords,
    *,
    now: datetime,
    watermark: datetime | None = None,
    learned_until: datetime | None = None,
    catch_up: timedelta = CATCH_UP,
) -> Bounds:
    """The times that ``words`` mean at ``now``.

    ``watermark`` is up to when the last check looked; before the first it is ``learned_until``, the end of a reference
    that was a capture, and else everything within ``catch_up`` is new.

    >>> from datetime import UTC
    >>> bounds_of(LastSpan(timedelta(hours=1)), now=datetime(2026, 3, 1, 12, tzinfo=UTC)).start.isoformat()
    '2026-03-01T10:59:58+00:00'
    """
    end = now - SETTLED
    match words:
        case LastSpan(span):
            return Bounds(end - span, end)
        case LastRows(rows):
            return Bounds(None, end, rows)
        case DataAt():
            return Bounds(None, None)
        case SinceLast():
            earliest = end - catch_up
            known = watermark or learned_until
            if known is None or known >= earliest:
                # An unset watermark means the first check; one in the future, a clock that was set back.
                return Bounds(min(known or earliest, end), end)
            return Bounds(earliest, end, skipped_from=known)


def compared(bounds: Bounds, against: Against) -> Bounds | None:
    """The times to hold a window of ``bounds`` against; None for the profile's reference.

    Raises UsageError for a window without times.
    """
    if against == "training":
        return None
    if bounds.start is None or bounds.end is None:
        raise UsageError(f"--ref {against} needs a window in time", hint="--window 24h")
    if against == "same-hour-last-week":
        return Bounds(bounds.start - WEEK, bounds.end - WEEK)
    return Bounds(bounds.start - (bounds.end - bounds.start), bounds.start)


def judge_supply(
    rows: int,
    *,
    newest: datetime | None,
    now: datetime,
    fewest: int = FEWEST_ROWS,
    stale_after: timedelta = STALE_AFTER,
) -> tuple[Supply, str]:
    """Whether ``rows`` rows are enough to judge by, and in words why not.

    ``newest`` is when the last row of the source came, in the window or not; None where it has no times, or no rows at
    all. A source that has been silent for ``stale_after`` is stale, however many rows the window has.
    """
    if newest is not None and now - newest > stale_after:
        return "stale", f"no rows since {isoformat(newest)}"
    if rows < fewest:
        return "insufficient", f"{rows} rows, and {fewest} are needed at least"
    return "enough", ""
