"""A moment as people write it: ISO 8601, in UTC where no time zone is said."""

from __future__ import annotations

from datetime import UTC, datetime

from mlserve.errors import UsageError


def parse_moment(text: str, option: str) -> datetime:
    """The moment that ``text`` spells, in UTC; a date alone is its beginning. Raises UsageError.

    >>> parse_moment("2026-03-01T13:00+01:00", "--at").isoformat(), parse_moment("2026-03-01", "--at").isoformat()
    ('2026-03-01T12:00:00+00:00', '2026-03-01T00:00:00+00:00')
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{option} '{text}' is not a time", hint=f"{option} 2026-03-01T12:00:00Z") from error
