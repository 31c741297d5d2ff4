from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlserve import wiring
from mlserve.core.refs import Stage
from mlserve.errors import DeadlineExceeded
from mlserve.registry.following import report_instance
from mlserve.registry.records import Move
from mlserve.wiring.connecting import App
from mlserve.wiring.starting import start_project
from mlserve.wiring.waiting import wait_until_swapped

NOW = datetime(2026, 1, 2, tzinfo=UTC)
MOVE = Move(ref="fraud:2", stage=Stage.PRODUCTION, previous="fraud:1", generation=2, changed=True)


@pytest.fixture
def app(clean_environment: Path) -> Iterator[App]:
    start_project(Path(), env={})
    with wiring.connect() as opened:
        yield App(opened.store, opened.artefacts, opened.settings, "tester", lambda: NOW)


def heartbeat(app: App, generation: int) -> None:
    report_instance(
        app.store, "a", host="node1", pid=7, started_at=NOW, now=NOW, loaded={("fraud", Stage.PRODUCTION): generation}
    )


def test_nobody_is_waited_for_where_no_server_lives(app: App) -> None:
    wait_until_swapped(app, "fraud", MOVE, timeout_s=0)


def test_the_wait_ends_when_the_last_server_has_swapped(app: App) -> None:
    heartbeat(app, 1)
    steps: list[tuple[str, int, int | None]] = []

    wait_until_swapped(
        app,
        "fraud",
        MOVE,
        timeout_s=5,
        progress=lambda step, done, total: steps.append((step, done, total)),
        sleep=lambda _: heartbeat(app, 2),
        monotonic=lambda: 0.0,
    )

    assert steps == [("waiting for servers to swap", 0, 1), ("waiting for servers to swap", 1, 1)]


def test_who_is_late_is_named(app: App) -> None:
    heartbeat(app, 1)
    clock = iter([0.0, 1.0, 6.0])

    with pytest.raises(DeadlineExceeded, match=r"1 live server has not swapped: node1 \(process 7\)"):
        wait_until_swapped(app, "fraud", MOVE, timeout_s=5, sleep=lambda _: None, monotonic=lambda: next(clock))


def test_who_could_not_load_the_version_is_named_with_the_reason(app: App) -> None:
    loaded, failed = {("fraud", Stage.PRODUCTION): 0}, {("fraud", 2): "opset 99 is not known"}
    said = {"host": "node1", "pid": 7, "started_at": NOW, "now": NOW}
    report_instance(app.store, "a", loaded=loaded, failures=failed, **said)  # type: ignore[arg-type]

    with pytest.raises(DeadlineExceeded, match=r"node1 \(process 7: opset 99 is not known\)"):
        wait_until_swapped(app, "fraud", MOVE, timeout_s=0)
