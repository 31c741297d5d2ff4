"""``promote --wait``: until every live server has swapped to what a move put in place."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mlserve.core.progress import Progress, silent
from mlserve.errors import DeadlineExceeded
from mlserve.wiring.connecting import App

if TYPE_CHECKING:
    from mlserve.registry.records import Instance, Move

POLL_S = 0.2


def wait_until_swapped(
    app: App,
    name: str,
    move: Move,
    *,
    timeout_s: float,
    progress: Progress = silent,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Nothing, once no live server that follows ``name`` is behind the move's generation.

    The move itself stands, whatever happens here. Raises DeadlineExceeded naming the servers that are behind.
    """
    from mlserve.registry.following import lagging

    deadline_s = monotonic() + timeout_s
    most = 0
    while behind := lagging(app.store, name, move.stage, move.generation, app.clock()):
        most = max(most, len(behind))
        progress("waiting for servers to swap", most - len(behind), most)
        left_s = deadline_s - monotonic()
        if left_s <= 0:
            raise DeadlineExceeded(
                f"{move.ref} is in {move.stage}, but after {timeout_s:g} s "
                f"{_counted(len(behind))} not swapped: {_named(behind, name, move)}",
                hint=f"mlserve history {name}; the servers' logs say why they do not load it",
            )
        sleep(min(POLL_S, left_s))
    if most:
        progress("waiting for servers to swap", most, most)


def _named(instances: list[Instance], name: str, move: Move) -> str:
    """Each server, and why it could not load the version where it said so."""
    version = int(move.ref.rpartition(":")[2]) if move.ref else 0
    reasons = [instance.failures.get((name, version)) for instance in instances]
    return ", ".join(
        f"{instance.host} (process {instance.pid}{f': {reason}' if reason else ''})"
        for instance, reason in zip(instances, reasons, strict=True)
    )


def _counted(servers: int) -> str:
    return "1 live server has" if servers == 1 else f"{servers} live servers have"
