"""Many processes at once: every move is won or refused, none is lost, and nobody is locked out."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

import mlserve
from mlserve.core.refs import ModelRef, Stage
from mlserve.errors import Conflict
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.following import epoch, placements
from mlserve.registry.history import history
from mlserve.registry.promoting import withdraw
from mlserve.registry.store import Store
from mlserve.registry.versions import archive, get_version, list_versions, unarchive
from tests.registry.making import NOON, add_versions, move
from tests.registry.racing import NAME, Outcome, race, register_same, won

REPOSITORY = Path(mlserve.__file__).parent.parent


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


def test_of_archiving_and_promoting_at_once_only_one_happens(store: Store, artefacts: ArtefactStore) -> None:
    add_versions(store, artefacts, 1, NAME)
    one = ModelRef(NAME, 1)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            both = [pool.submit(move, store, "fraud:1"), pool.submit(archive, store, one)]
            refused = [future for future in both if future.exception() is not None]

            assert [type(future.exception()) for future in refused] == [Conflict]
            version = get_version(store, one)
            assert (version.state == "archived") is (version.stages == [])
            unarchive(store, one)
            withdraw(store, NAME, Stage.PRODUCTION, by="ann", now=NOON)


@pytest.mark.slow
def test_every_promotion_typed_at_once_exits_with_0_or_5(
    store: Store, url: str, artefacts: ArtefactStore, in_full: bool
) -> None:
    calls = 48 if in_full else 8
    add_versions(store, artefacts, calls, NAME)

    with ThreadPoolExecutor(16) as pool:
        runs = list(pool.map(lambda number: _typed(url, artefacts.root, number), range(1, calls + 1)))

    assert {run.returncode for run in runs} <= {0, 5}
    answers = [json.loads(run.stdout) for run in runs if run.returncode == 0]
    refusals = [json.loads(run.stderr)["error"] for run in runs if run.returncode == 5]
    assert sorted(answer["generation"] for answer in answers) == list(range(1, len(answers) + 1))
    assert {error["type"] for error in refusals} <= {"Conflict"}
    # Who expected nothing in production can have won once at most.
    assert len(answers) in (calls // 2, calls // 2 + 1)
    assert {entry.generation: entry.ref for entry in history(store, NAME)} == {
        answer["generation"]: answer["ref"] for answer in answers
    }


def _typed(url: str, root: str, number: int) -> subprocess.CompletedProcess[str]:
    words = ["promote", f"{NAME}:{number}", "--to", "production", "--registry", url, "--json"]
    words += ["--expect", "none"] if number % 2 else []
    env = os.environ | {"MLSERVE_ARTIFACTS": root}
    return subprocess.run(
        [sys.executable, "-m", "mlserve", *words], capture_output=True, text=True, timeout=240, cwd=REPOSITORY, env=env
    )


def _spawn(work, url: str, runners: int, calls: int, *further: str) -> list:
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(runners, mp_context=context) as pool:
        start = manager.Barrier(runners)
        futures = [pool.submit(work, url, rank, runners, calls, start, *further) for rank in range(runners)]
        return [future.result(timeout=240) for future in futures]


def _by_turn(outcomes: list[Outcome], calls: int) -> list[list[Outcome]]:
    return [outcomes[first : first + calls] for first in range(0, len(outcomes), calls)]
