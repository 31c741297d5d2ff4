"""What one process of the race does; a module of its own so that a spawned process can import it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier

from mlserve.core.refs import ModelRef, Stage
from mlserve.errors import Conflict, NotFound
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.promoting import promote
from mlserve.registry.records import Expect
from mlserve.registry.store import Store, open_store
from mlserve.registry.versions import get_version
from tests.registry.making import add_version

NAME = "fraud"


@dataclass(frozen=True)
class Outcome:
    """What came of one call: ``generation`` of a move that was won, None where it was refused as a conflict."""

    version: int
    generation: int | None
    changed: bool


def race(url: str, rank: int, runners: int, calls: int, start: Barrier) -> list[Outcome]:
    """Promote versions of our own ``calls`` times, every second time only if nobody moved in between."""
    store = open_store(url)
    mine = (2 * rank + 1, 2 * rank + 2)
    start.wait(60)
    outcomes = [_run(store, mine[call // 2 % 2], expecting=call % 2 == 1) for call in range(calls)]
    store.close()
    return outcomes


def _run(store: Store, version: int, *, expecting: bool) -> Outcome:
    expect = Expect(_holder(store)) if expecting else None
    try:
        move = promote(
            store,
            ModelRef(NAME, version),
            Stage.PRODUCTION,
            by=f"racer {version}",
            now=datetime.now(UTC),
            expect=expect,
        )
    except Conflict:
        return Outcome(version, None, changed=False)
    return Outcome(version, move.generation, move.changed)


def _holder(store: Store) -> ModelRef | None:
    try:
        return ModelRef(NAME, get_version(store, ModelRef(NAME)).version)
    except NotFound:
        return None


def won(outcomes: Sequence[Outcome]) -> dict[int, int]:
    """The version of each generation that was won."""
    return {item.generation: item.version for item in outcomes if item.changed and item.generation is not None}


def register_same(url: str, rank: int, runners: int, calls: int, start: Barrier, root: str) -> dict[str, int]:
    """Register the same ``calls`` models as everybody else and return the number that each content got."""
    store, artefacts = open_store(url), ArtefactStore(root)
    start.wait(60)
    numbers = {}
    for call in range(calls):
        content = f"model {(call + rank) % calls}"
        numbers[content] = add_version(store, artefacts, NAME, content.encode()).version.version
    store.close()
    return numbers
