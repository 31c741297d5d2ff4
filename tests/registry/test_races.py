"""Many processes at once: every move is won or refused, none is lost, and nobody is locked out."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from mlserve.core.refs import ModelRef, Stage
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.following import epoch, placements
from mlserve.registry.history import history
from mlserve.registry.store import Store
from mlserve.registry.versions import get_version, list_versions
from tests.registry.making import add_versions
from tests.registry.racing import NAME, Outcome, race, register_same, won


@pytest.mark.slow
def test_every_promotion_of_a_race_is_won_or_refused(
    store: Store, url: str, artefacts: ArtefactStore, in_full: bool
) -> None:
    runners, calls = (16, 50) if in_full else (8, 15)
    add_versions(store, artefacts, 2 * runners, NAME)
    before = epoch(store)

    outcomes = [outcome for own in _spawn(race, url, runners, calls) for outcome in own]

    moves = [item for item in outcomes if item.changed]
    assert len(outcomes) == runners * calls
    assert sorted(item.generation for item in moves) == list(range(1, len(moves) + 1))
    entries = history(store, NAME)[::-1]
    assert {entry.generation: entry.ref for entry in entries} == {
        generation: f"{NAME}:{version}" for generation, version in won(outcomes).items()
    }
    assert [entry.previous for entry in entries] == [None, *(entry.ref for entry in entries[:-1])]
    assert get_version(store, ModelRef(NAME)).ref == entries[-1].ref
    assert [(place.stage, place.generation) for place in placements(store)] == [(Stage.PRODUCTION, len(moves))]
    assert epoch(store) == before + len(moves)
    # Without an expectation nobody is refused: those are every second call.
    assert all(outcome.generation is not None for own in _by_turn(outcomes, calls) for outcome in own[::2])


@pytest.mark.slow
def test_versions_registered_at_once_are_numbered_without_gap_or_duplicate(
    store: Store, url: str, artefacts: ArtefactStore, in_full: bool
) -> None:
    runners, calls = (16, 10) if in_full else (6, 4)

    registered = _spawn(register_same, url, runners, calls, artefacts.root)

    # Everybody registers the same `calls` models, so each has one number, whoever was first.
    assert all(own == registered[0] for own in registered)
    assert sorted(version.version for version in list_versions(store, NAME)) == list(range(1, calls + 1))


def _spawn(work, url: str, runners: int, calls: int, *further: str) -> list:
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(runners, mp_context=context) as pool:
        start = manager.Barrier(runners)
        futures = [pool.submit(work, url, rank, runners, calls, start, *further) for rank in range(runners)]
        return [future.result(timeout=240) for future in futures]


def _by_turn(outcomes: list[Outcome], calls: int) -> list[list[Outcome]]:
    return [outcomes[first : first + calls] for first in range(0, len(outcomes), calls)]
