"""``mlserve drift install``: from this call's settings and interpreter to units that run the same check elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from mlserve.core.settings import DriftSettings, Resolved
from mlserve.drift.quiet import QuietHours, parse_quiet_hours
from mlserve.drift.units.crontab import crontab
from mlserve.drift.units.kubernetes import kubernetes
from mlserve.drift.units.plan import Unit, UnitPlan
from mlserve.drift.units.schedule import DAY_MIN, Schedule, parse_schedule
from mlserve.drift.units.systemd import systemd
from mlserve.errors import UsageError
from mlserve.wiring.connecting import user_of, without_password

Kind = Literal["cron", "systemd", "k8s"]

TIMEOUT_S = 3600.0
GRACE_S = 60.0
"""What a check that met its own time limit has to end, before its unit ends it."""
ENV_FILE = "/etc/mlserve/env"
_WRITERS = {"cron": crontab, "systemd": systemd, "k8s": kubernetes}


def units_of(
    kind: Kind,
    ref: str,
    options: Sequence[str],
    resolved: Resolved,
    *,
    every: str | None = None,
    at: str | None = None,
    registry: str | None = None,
    config_file: Path | None = None,
    env_file: Path | None = None,
    image: str | None = None,
    now: datetime,
) -> list[Unit]:
    """The units that check ``ref`` with ``options`` of ``drift check``, as this process would, from this folder.

    What comes from the environment, and a registry with a password, is left to ``env_file``. Raises UsageError,
    InvalidConfig.
    """
    words = ["drift", "check", ref, *options]
    if not _has(options, "--window"):
        words += ["--window", "since-last"]
    timeout_s = _timeout_of(options)
    if timeout_s is None:
        timeout_s = TIMEOUT_S
        words += ["--timeout", f"{TIMEOUT_S:g}"]
    if kind != "k8s" and registry is not None and without_password(registry) == registry:
        words += ["--registry", registry]
    if kind != "k8s" and config_file is not None:
        words += ["--config", str(config_file.absolute())]
    quiet = parse_quiet_hours(resolved.settings.drift.quiet_hours, resolved.settings.drift.quiet_zone)
    plan = UnitPlan(
        ref=ref,
        words=words,
        schedule=parse_schedule(every, at, ref),
        limit_s=timeout_s + _actions_s(resolved.settings.drift) + GRACE_S,
        python=sys.executable,
        folder=str(Path.cwd()),
        env_file=str(env_file.absolute()) if env_file else (ENV_FILE if _is_secret(resolved, registry) else None),
        user=user_of(resolved.settings),
        image=image,
        waiting=_waiting(quiet),
        ahead_min=0 if quiet is None else ahead_of(quiet.zone, now),
    )
    return _WRITERS[kind](plan)


def ahead_of(zone: ZoneInfo, now: datetime) -> int:
    """How many minutes this machine's clock shows more than one of ``zone``."""
    here, there = now.astimezone().utcoffset(), now.astimezone(zone).utcoffset()
    assert here is not None, "a moment in a zone has its offset"
    assert there is not None, "a moment in a zone has its offset"
    return round((here - there).total_seconds() / 60)


def _waiting(quiet: QuietHours | None) -> Schedule | None:
    if quiet is None:
        return None
    return Schedule(DAY_MIN, quiet.end.hour * 60 + quiet.end.minute, quiet.zone.key)


def _actions_s(settings: DriftSettings) -> float:
    """How long what follows a check may take."""
    return settings.webhook_timeout_s * bool(settings.webhooks) + settings.command_timeout_s * bool(settings.command)


def _is_secret(resolved: Resolved, registry: str | None) -> bool:
    """Whether this call knows what a unit may not show, or would not know: the environment's, and passwords."""
    if registry is not None and without_password(registry) != registry:
        return True
    return any(item.origin == "environment" for item in resolved.origins)


def _has(options: Sequence[str], name: str) -> bool:
    return any(word == name or word.startswith(f"{name}=") for word in options)


def _timeout_of(options: Sequence[str]) -> float | None:
    """The seconds of ``--timeout``; None without it. Raises UsageError."""
    for i, word in enumerate(options):
        name, equals, value = word.partition("=")
        if name != "--timeout":
            continue
        text = value if equals else next(iter(options[i + 1 :]), "")
        try:
            return float(text)
        except ValueError:
            raise UsageError(f"--timeout '{text}' is no number of seconds", hint="--timeout 3600") from None
    return None
