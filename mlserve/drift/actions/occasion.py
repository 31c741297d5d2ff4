"""What every action is told: which version, after which run, with what found, and how to get at the window's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from mlserve.core.settings import DriftSettings
from mlserve.drift.blocks import Block
from mlserve.drift.deciding import Alarm
from mlserve.registry.store import Store

BY = "drift"
"""Who moves and freezes in the history."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """A recorded run of a check. ``key`` is the run's, ``ref`` the exact version, such as ``fraud:3``.

    ``rows`` opens the exact window anew, None where it cannot be read again; ``names`` are of a 2-D input's columns.
    ``folder`` is where an action may leave files.
    """

    store: Store
    settings: DriftSettings
    key: str
    ref: str
    digest: str
    alarm: Alarm
    document: Mapping[str, Any]
    folder: Path
    clock: Callable[[], datetime]
    sleep: Callable[[float], None]
    rows: Callable[[], Iterable[Block]] | None = None
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def model(self) -> str:
        return self.ref.rpartition(":")[0]

    @property
    def window_digest(self) -> str | None:
        found = (self.document.get("window") or {}).get("digest")
        return None if found is None else str(found)

    @property
    def reason(self) -> str:
        """Why, for the history: the verdict, what drifts, and the run."""
        drifting = ", ".join(self.alarm.subjects[:5]) + (", …" if len(self.alarm.subjects) > 5 else "")
        of = f" of {drifting}" if drifting else ""
        return f"drift check of {self.ref}: {self.alarm.verdict}{of} (run {self.key.removeprefix('sha256:')[:12]})"


@dataclass(frozen=True, slots=True)
class Effect:
    """What came of an action; ``figures`` are JSON values that are kept with it."""

    state: Literal["done", "failed", "refused"]
    detail: str
    figures: Mapping[str, Any] = field(default_factory=dict)
