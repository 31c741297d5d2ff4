"""Hold up promotions of the model to production until somebody lifts it."""

from __future__ import annotations

from mlserve.drift.actions.occasion import BY, Effect, Occasion
from mlserve.registry.freezing import freeze


def act(occasion: Occasion) -> Effect:
    """Freeze the model. Raises NotFound, Unavailable."""
    held = freeze(occasion.store, occasion.model, reason=occasion.reason, by=BY, now=occasion.clock())
    said = "promotions are frozen" if held.changed else f"promotions were frozen already, by {held.by}"
    return Effect("done", f"{said}; mlserve drift thaw {occasion.model}")
