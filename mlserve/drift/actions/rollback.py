"""Put back into production what stood there before the version that drifts; once a day at most, by whatever host."""

from __future__ import annotations

from mlserve.core.refs import parse_ref
from mlserve.drift.actions.occasion import BY, Effect, Occasion
from mlserve.drift.deciding import ROLLBACK_EVERY
from mlserve.errors import Conflict, NotFound
from mlserve.registry.leases import acquire, release
from mlserve.registry.promoting import rollback
from mlserve.registry.records import Expect


def act(occasion: Occasion) -> Effect:
    """Roll back if this version is in production. Raises Unavailable.

    The limit is a lease of a day that nobody renews: two checks at once cannot both have it, and one that is killed
    in between leaves production as it is for that day.
    """
    now = occasion.clock()
    name = f"drift rollback {occasion.model}"
    lease = acquire(occasion.store, name, occasion.key, now=now, ttl_s=ROLLBACK_EVERY.total_seconds())
    if lease is None:
        return Effect("refused", "drift rolled back within the last 24 h")
    try:
        move = rollback(
            occasion.store,
            occasion.model,
            by=BY,
            now=now,
            expect=Expect(parse_ref(occasion.ref)),
            reason=occasion.reason,
        )
    except (Conflict, NotFound) as error:
        release(occasion.store, lease, now=now)
        return Effect("refused", error.message)
    return Effect("done", f"{move.ref} is back in production", {"generation": move.generation, "ref": move.ref})
