"""Hours in which nobody is woken for what can wait: ``22:00-07:00`` on the clocks of one time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mlserve.errors import InvalidConfig

_FORM = re.compile(r"\s*([01]?\d|2[0-3]):([0-5]\d)\s*-\s*([01]?\d|2[0-3]):([0-5]\d)\s*")


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From ``start`` until ``end`` every day, over midnight where ``end`` is the earlier of the two."""

    start: time
    end: time
    zone: ZoneInfo

    def cover(self, now: datetime) -> bool:
        """Whether ``now`` is quiet; the first minute is, the last is not."""
        clock = now.astimezone(self.zone).time()
        if self.start <= self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end

    def over_at(self, now: datetime) -> datetime:
        """When the quiet hours that cover ``now`` end."""
        local = now.astimezone(self.zone)
        end = local.replace(hour=self.end.hour, minute=self.end.minute, second=0, microsecond=0)
        return end if end > local else end + timedelta(days=1)


def parse_quiet_hours(text: str | None, zone: str = "UTC") -> QuietHours | None:
    """What ``drift.quiet_hours`` and ``drift.quiet_zone`` say; None for no quiet hours. Raises InvalidConfig.

    >>> from datetime import UTC
    >>> quiet = parse_quiet_hours("22:00-07:00", "Europe/Berlin")
    >>> [quiet.cover(datetime(2026, 7, 1, hour, tzinfo=UTC)) for hour in (19, 20, 4, 5)]
    [False, True, True, False]
    """
    if text is None:
        return None
    found = _FORM.fullmatch(text)
    if found is None:
        raise InvalidConfig(f"drift.quiet_hours '{text}' are no hours", hint='quiet_hours = "22:00-07:00"')
    start, end = time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4]))
    if start == end:
        raise InvalidConfig(f"drift.quiet_hours '{text}' are no time or the whole day", hint="leave them out")
    try:
        return QuietHours(start, end, ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError) as error:
        fact = f"drift.quiet_zone '{zone}' is no time zone of this machine"
        raise InvalidConfig(fact, hint="such as Europe/Berlin; a machine that has none: pip install tzdata") from error
