"""All that a unit is made of, whichever it is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlserve.drift.units.schedule import Schedule

EXITS = """\
exit 0: no drift             10: warn     11: critical   12: quality on labels dropped
exit 20: too few rows        21: nothing came, or the source is gone (the last two are never "ok")
exit 5: another host is checking now      1-4, 6, 8, 9: it could not be checked; the message says why"""


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """What to run, where and when. ``words`` are those after ``mlserve``; ``waiting`` runs what quiet hours held back.

    ``limit_s`` is when the unit ends what has not ended itself. ``python`` is the interpreter that has mlserve,
    ``folder`` where it runs, ``env_file`` a file of ``NAME=value`` lines that holds what no unit may show (None where
    nothing is secret). ``user`` is for systemd, ``image`` for Kubernetes; ``ahead_min`` is what this machine's clock
    shows more than that of ``waiting``'s zone, for cron.
    """

    ref: str
    words: Sequence[str]
    schedule: Schedule
    limit_s: float
    python: str
    folder: str
    env_file: str | None = None
    user: str | None = None
    image: str | None = None
    waiting: Schedule | None = None
    ahead_min: int = 0

    @property
    def name(self) -> str:
        """A name for the unit, of letters that all three take.

        >>> UnitPlan("Fraud_v2@production", [], Schedule(1440, 0), 60, "python", "/").name
        'mlserve-drift-fraud-v2-production'
        """
        plain = re.sub(r"[^a-z0-9]+", "-", self.ref.lower()).strip("-")
        return f"mlserve-drift-{plain}"[:52].rstrip("-")

    @property
    def command(self) -> list[str]:
        return [self.python, "-m", "mlserve", *self.words]

    @property
    def waiting_command(self) -> list[str]:
        return [self.python, "-m", "mlserve", "drift", "act", self.ref]


@dataclass(frozen=True, slots=True)
class Unit:
    """One file's text, and where it belongs."""

    path: str
    text: str
