"""Lines for ``crontab -e``: no lock is needed (checks take turns in the registry), and mail comes with news only."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from mlserve.drift.units.plan import EXITS, Unit, UnitPlan
from mlserve.drift.units.schedule import Schedule
from mlserve.errors import UsageError

LONGEST_LINE = 999
"""cron reads no more of a command, and says nothing."""


def crontab(plan: UnitPlan) -> list[Unit]:
    """The lines. Raises UsageError for a word with a line's end in it, and a line that cron would cut."""
    comments = [f"drift check of {plan.ref}: cron mails what is said where the exit is not 0", *EXITS.splitlines()]
    if plan.env_file:
        comments.append(f"{plan.env_file} (mode 600) holds MLSERVE_REGISTRY=… and what else is secret")
    lines = [f"# {line}" for line in comments]
    lines.append(_line(plan, plan.schedule.cron, plan.command))
    if plan.waiting is not None:
        lines.append(f"# what quiet hours held back, at three hours, for clocks of {plan.waiting.zone} change")
        lines.append(_line(plan, _around(plan.waiting, plan.ahead_min), plan.waiting_command))
    return [Unit("crontab -e", "\n".join(lines) + "\n")]


def _around(waiting: Schedule, ahead_min: int) -> str:
    """The fields for a daily ``waiting`` on the clock of its zone, which the machine's is ``ahead_min`` ahead of now.

    cron knows one clock only, and the other may change; what is not due at one hour is at the next, and done once.

    >>> _around(Schedule(1440, 420, "Europe/Berlin"), -120), _around(Schedule(1440, 420, "UTC"), 16 * 60)
    ('0 4,5,6 * * *', '0 22,23,0 * * *')
    """
    hour, minute = divmod((waiting.offset_min + ahead_min) % 1440, 60)
    return f"{minute} {','.join(str((hour + step) % 24) for step in (-1, 0, 1))} * * *"


def _line(plan: UnitPlan, fields: str, command: Sequence[str]) -> str:
    steps = [f"cd {shlex.quote(plan.folder)}"]
    if plan.env_file:
        steps.append(f"set -a && . {shlex.quote(plan.env_file)} && set +a")
    # Quiet where all is well: cron mails whatever is said.
    steps.append(f'{{ SAID=$({shlex.join(command)} 2>&1) || {{ CODE=$?; echo "$SAID"; exit $CODE; }}; }}')
    text = " && ".join(steps)
    if "\n" in text or "\r" in text:
        raise UsageError("a line of cron ends where a word does not", hint="write the words without line ends")
    # An unescaped % is a line's end to cron, within quotes too.
    line = f"{fields} {text.replace('%', chr(92) + '%')}"
    if len(line) > LONGEST_LINE:
        raise UsageError(f"the line has {len(line)} characters, and cron reads {LONGEST_LINE}", hint="--systemd")
    return line
