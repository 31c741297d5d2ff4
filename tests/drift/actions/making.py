"""An occasion to act on, with a time that passes only while somebody sleeps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mlserve.core.digests import digest_bytes
from mlserve.core.settings import DriftSettings
from mlserve.drift.actions.occasion import Occasion
from mlserve.drift.blocks import Block
from mlserve.drift.deciding import alarm_of
from mlserve.registry.store import Store
from tests.registry.making import at

KEY = digest_bytes(b"run")
DIGEST = digest_bytes(b"fraud 2")
DOCUMENT: Mapping[str, Any] = {
    "verdict": "critical",
    "profile": digest_bytes(b"profile"),
    "reasons": ["age: ks 0.4"],
    "window": {
        "kind": "24h",
        "start": "2026-03-01T00:00:00Z",
        "end": "2026-03-01T12:00:00Z",
        "rows": 5,
        "digest": digest_bytes(b"w"),
    },
    "features": [
        {"name": "age", "test": "ks", "effect": 0.4, "threshold": 0.1, "drift": True, "severity": "critical"},
        {"name": "visits", "test": "ks", "effect": 0.0, "threshold": 0.1, "drift": False, "severity": "none"},
    ],
    "localisation": {"rows": [{"request_id": "r1", "inputs": {"age": 77}}]},
}


@dataclass
class Time:
    now: datetime = field(default_factory=lambda: at(0))
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


def occasion(
    store: Store | None,
    folder: Path,
    settings: DriftSettings | None = None,
    *,
    time: Time | None = None,
    document: Mapping[str, Any] = DOCUMENT,
    rows: Callable[[], Iterable[Block]] | None = None,
    key: str = KEY,
    ref: str = "fraud:2",
) -> Occasion:
    time = time or Time()
    return Occasion(
        store=store,  # type: ignore[arg-type]  # None where the action asks no registry
        settings=settings or DriftSettings(),
        key=key,
        ref=ref,
        digest=DIGEST,
        alarm=alarm_of(document),
        document=document,
        folder=folder,
        clock=time,
        sleep=time.sleep,
        rows=rows,
        names={"x": ("amount", "age")},
    )
