"""What happened to versions, counted from the events that the server tells anyway."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mlserve.serving.events import Emit, Event

COUNTED = ("loaded", "failed", "swapped", "unloaded", "withdrawn", "abandoned")


@dataclass(slots=True)
class EventCounts:
    """An ``Emit`` in front of another. ``by_model`` counts (event, model); ``load_s`` is each version's last load."""

    emit: Emit
    by_model: Counter[tuple[str, str]] = field(default_factory=Counter)
    load_s: dict[tuple[str, str], float] = field(default_factory=dict)
    registry_losses: int = 0
    has_registry: bool = True

    def __call__(self, event: Event) -> None:
        kind, model = str(event["event"]), str(event.get("model"))
        if kind in COUNTED:
            self.by_model[kind, model] += 1
        if kind == "loaded":
            self.load_s[model, str(event["version"])] = event["load_ms"] / 1e3
        elif kind == "registry_lost":
            self.registry_losses += 1
            self.has_registry = False
        elif kind == "registry_found":
            self.has_registry = True
        self.emit(event)
