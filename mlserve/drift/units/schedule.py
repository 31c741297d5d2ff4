"""When a check runs, said once and spelled for cron and for systemd."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from mlserve.core.durations import parse_duration
from mlserve.errors import UsageError

DAY_MIN = 24 * 60
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class Schedule:
    """Every ``period_min`` minutes, ``offset_min`` after what begins such a period: an hour, a day, a Sunday.

    On the clock of ``zone``; None is the machine's, or the cluster's UTC.
    """

    period_min: int
    offset_min: int
    zone: str | None = None

    @property
    def cron(self) -> str:
        """The five fields.

        >>> Schedule(1440, 210).cron, Schedule(360, 17).cron, Schedule(15, 3).cron, Schedule(10080, 60).cron
        ('30 3 * * *', '17 0,6,12,18 * * *', '3,18,33,48 * * * *', '0 1 * * 0')
        """
        hour, minute = divmod(self.offset_min, 60)
        if self.period_min < 60:
            return f"{_list(self.offset_min, self.period_min, 60)} * * * *"
        if self.period_min < DAY_MIN:
            return f"{minute} {_list(hour, self.period_min // 60, 24)} * * *"
        return f"{minute} {hour} * * {'*' if self.period_min == DAY_MIN else '0'}"

    @property
    def calendar(self) -> str:
        """What systemd's ``OnCalendar`` takes.

        >>> Schedule(1440, 210).calendar, Schedule(360, 17).calendar, Schedule(10080, 60).calendar
        ('*-*-* 03:30:00', '*-*-* 0,6,12,18:17:00', 'Sun *-*-* 01:00:00')
        """
        hour, minute = divmod(self.offset_min, 60)
        if self.period_min < 60:
            return f"*-*-* *:{_list(self.offset_min, self.period_min, 60)}:00"
        if self.period_min < DAY_MIN:
            return f"*-*-* {_list(hour, self.period_min // 60, 24)}:{minute:02d}:00"
        day = "" if self.period_min == DAY_MIN else "Sun "
        return f"{day}*-*-* {hour:02d}:{minute:02d}:00" + (f" {self.zone}" if self.zone else "")


def parse_schedule(every: str | None, at: str | None, name: str) -> Schedule:
    """What ``--every`` and ``--at`` say; once a day without either. Raises UsageError.

    Without ``--at`` the minute comes of ``name`` (by night, once a day), so that a fleet does not begin all at once.

    >>> parse_schedule(None, "03:30", "fraud").cron, parse_schedule("7d", "01:00", "fraud").cron
    ('30 3 * * *', '0 1 * * 0')
    """
    period = DAY_MIN if every is None else _period(every)
    if at is None:
        spread = int(hashlib.sha256(name.encode()).hexdigest(), 16)
        return Schedule(period, 60 + spread % 240 if period >= DAY_MIN else spread % min(period, 60))
    found = _CLOCK.fullmatch(at.strip())
    if found is None:
        raise UsageError(f"--at '{at}' is no time of day", hint="--at 03:30")
    return Schedule(period, (int(found[1]) * 60 + int(found[2])) % (period if period < DAY_MIN else DAY_MIN))


def _period(every: str) -> int:
    minutes = parse_duration(every, "--every") / 60
    fits = minutes == int(minutes) and minutes >= 1
    if fits and (60 % minutes == 0 or (minutes % 60 == 0 and DAY_MIN % minutes == 0) or minutes == 7 * DAY_MIN):
        return int(minutes)
    raise UsageError(
        f"--every '{every}' divides neither an hour nor a day evenly", hint="such as 15m, 1h, 6h, 12h, 1d or 7d"
    )


def _list(first: int, step: int, of: int) -> str:
    return "*" if step == 1 else ",".join(str(value) for value in range(first % step, of, step))
