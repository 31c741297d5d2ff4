"""A service and its timer for systemd: nice, ended in time, made up for when the machine was off."""

from __future__ import annotations

from collections.abc import Sequence

from mlserve.drift.units.plan import EXITS, Unit, UnitPlan
from mlserve.drift.units.schedule import Schedule

FOLDER = "/etc/systemd/system"


def systemd(plan: UnitPlan) -> list[Unit]:
    """Service and timer, once more for what quiet hours held back."""
    units = _pair(plan, plan.name, f"drift check of {plan.ref}", plan.command, plan.schedule)
    if plan.waiting is not None:
        about = f"what quiet hours held back of {plan.ref}"
        units += _pair(plan, f"{plan.name}-waiting", about, plan.waiting_command, plan.waiting)
    return units


def _pair(plan: UnitPlan, name: str, about: str, command: Sequence[str], schedule: Schedule) -> list[Unit]:
    service = [
        *(f"# {line}" for line in EXITS.splitlines()),
        "[Unit]",
        f"Description=mlserve: {_plain(about)}",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        "Type=oneshot",
        *([f"User={plan.user}"] if plan.user else []),
        f"WorkingDirectory={_plain(plan.folder)}",
        *(
            ["# mode 600; holds MLSERVE_REGISTRY=…", f"EnvironmentFile={_plain(plan.env_file)}"]
            if plan.env_file
            else []
        ),
        f"ExecStart={' '.join(_word(word) for word in command)}",
        f"TimeoutStartSec={plan.limit_s:g}",
        "Nice=10",
        "IOSchedulingClass=idle",
        "NoNewPrivileges=yes",
    ]
    timer = [
        "[Unit]",
        f"Description=mlserve: the time of {name}.service",
        "",
        "[Timer]",
        f"OnCalendar={schedule.calendar}",
        f"RandomizedDelaySec={min(300, schedule.period_min * 60 // 4)}",
        "Persistent=true",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return [
        Unit(f"{FOLDER}/{name}.service", "\n".join(service) + "\n"),
        Unit(f"{FOLDER}/{name}.timer", "\n".join(timer) + "\n"),
    ]


def _word(word: str) -> str:
    r"""One word of ``ExecStart``: quoted, and nothing in it expanded.

    >>> print(_word("plain"), _word("50% of $x"), _word('a "b"'))
    plain "50%% of $$x" "a \"b\""
    """
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("$", "$$")
    is_plain = word and all(character.isalnum() or character in "-_./:@=,+" for character in word)
    return word if is_plain else f'"{escaped.replace("%", "%%")}"'


def _plain(text: str | None) -> str:
    """A setting's value, in which only % has a meaning."""
    return (text or "").replace("%", "%%")
