"""The supervisor with workers that are real processes and serve nothing: each does what its one line of Python says."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mlserve.core.telling import error_event, error_in
from mlserve.errors import InvalidConfig, InvalidInput, MlserveError, Unavailable
from mlserve.serving.supervising.backoff import FIRST_S, HELD_S, LAST_S, Backoff
from mlserve.serving.supervising.crashes import Crashes
from mlserve.serving.supervising.seats import Seat
from mlserve.serving.supervising.snapshots import SUPERVISOR
from mlserve.serving.supervising.supervisor import Supervisor
from mlserve.serving.supervising.telling import Told
from mlserve.serving.supervising.workers import Forward, Worker

READY = json.dumps({"event": "ready", "http": "http://h:1"})
GOOD = (
    "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); "
    f"print({READY!r}, flush=True); signal.sigwait([signal.SIGTERM])"
)
SLOW_TO_END = GOOD + '; import time; time.sleep(0.3); print(\'{"event": "done"}\', flush=True)'
DEAF = (
    f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print({READY!r}, flush=True); time.sleep(60)"
)
DYING = f"import sys; print({READY!r}, flush=True); sys.exit(3)"
BROKEN = "import sys; sys.exit(3)"
TOLD = "print({!r}, flush=True)".format(json.dumps(error_event(InvalidInput("'m.onnx' cannot be loaded", hint="x"))))


class Story:
    """Runs a supervisor of workers with ``scripts``, one a start (the last for all further ones)."""

    def __init__(self, folder: Path, *scripts: str, count: int = 2, drain_s: float = 20.0) -> None:
        self.events: list[dict[str, Any]] = []
        self.workers: list[Worker] = []
        self._scripts = list(scripts)
        self._acts: list[tuple[str, Callable[[], object]]] = []
        self._supervisor = Supervisor(self._start, count, folder, self._emit, drain_s=drain_s)

    def on(self, kind: str, act: Callable[[], object]) -> Story:
        """Do ``act`` at the next event of that kind, after all acts given before."""
        self._acts.append((kind, act))
        return self

    def run(self) -> signal.Signals:
        return asyncio.run(self._supervisor.run())

    @property
    def kinds(self) -> list[str]:
        return [str(event["event"]) for event in self.events]

    async def _start(self, number: int, forward: Forward, succeeds: bool) -> Worker:
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        worker = await Worker.start(number, (sys.executable, "-c", script), b"{}", forward)
        self.workers.append(worker)
        return worker

    def _emit(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if self._acts and self._acts[0][0] == event["event"]:
            self._acts.pop(0)[1]()


def tell(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def killing(story: Story, *numbers: int) -> Callable[[], None]:
    """Kills the first workers of these seats."""

    def kill() -> None:
        for number in numbers:
            story.workers[number].process.kill()

    return kill


def test_one_ready_for_all_and_the_end_waits_for_all(tmp_path: Path) -> None:
    story = Story(tmp_path, SLOW_TO_END).on("ready", tell(signal.SIGTERM))

    assert story.run() is signal.SIGTERM
    assert story.kinds == ["ready", "draining", "done", "done"]
    assert story.events[0] == {
        "event": "ready",
        "http": "http://h:1",
        "workers": [worker.pid for worker in story.workers],
    }
    assert [worker.process.returncode for worker in story.workers] == [0, 0]


def test_what_keeps_a_first_worker_from_starting_is_raised_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"'m\.onnx' cannot be loaded") as caught:
        Story(tmp_path, GOOD, TOLD).run()
    with pytest.raises(Unavailable, match="ended with 3 before it was ready"):
        Story(tmp_path, BROKEN).run()

    assert caught.value.hint == "x"


def test_a_signal_before_all_are_ready_ends_it_without_a_ready(tmp_path: Path) -> None:
    silent = "import os, time; os.kill(os.getppid(), 15); time.sleep(60)"
    story = Story(tmp_path, silent, count=1)

    assert story.run() is signal.SIGTERM
    assert "ready" not in story.kinds
    assert story.workers[0].process.returncode == -signal.SIGTERM


def test_a_worker_that_crashes_is_started_again_until_one_is_ready(tmp_path: Path) -> None:
    story = Story(tmp_path, GOOD, GOOD, BROKEN, GOOD)

    story.on("ready", killing(story, 1)).on("worker_started", tell(signal.SIGTERM))

    story.run()

    assert story.kinds == ["ready", "worker_lost", "worker_failed", "worker_started", "draining"]
    lost = story.events[1]
    assert (lost["worker"], lost["pid"], lost["code"]) == (1, story.workers[1].pid, -signal.SIGKILL)
    assert [worker.process.returncode for worker in story.workers] == [0, -signal.SIGKILL, 3, 0]


def test_workers_that_end_again_and_again_are_counted_in_events_and_metrics(tmp_path: Path) -> None:
    story = Story(tmp_path, GOOD, GOOD, DYING, BROKEN, GOOD)
    story.on("ready", killing(story, 1))

    story.on("worker_started", lambda: None).on("worker_started", tell(signal.SIGTERM))
    story.run()

    told = [(event["event"], event["crashes"], event["restart_in_s"]) for event in story.events if "crashes" in event]
    assert told == [("worker_lost", 1, 0.5), ("worker_lost", 2, 1.0), ("worker_failed", 3, 2.0)]
    counts = read_supervisors(tmp_path)
    assert counts["mlserve_worker_restarts"] == {"0": 0.0, "1": 3.0}
    assert counts["mlserve_worker_ready"] == {"0": 1.0, "1": 1.0}


def test_when_no_worker_can_ever_start_again_the_supervisor_ends_with_the_reason(tmp_path: Path) -> None:
    story = Story(tmp_path, GOOD, GOOD, TOLD)

    with pytest.raises(InvalidInput, match=r"'m\.onnx' cannot be loaded") as caught:
        story.on("ready", killing(story, 0, 1)).run()

    assert (caught.value.exit_code, caught.value.hint) == (9, "x")
    assert "draining" not in story.kinds


def test_a_worker_that_still_answers_is_kept_although_no_other_can_start(tmp_path: Path) -> None:
    story = Story(tmp_path, GOOD, GOOD, TOLD)
    story.on("ready", killing(story, 1)).on("worker_failed", lambda: None)

    assert story.on("worker_failed", tell(signal.SIGTERM)).run() is signal.SIGTERM
    assert story.workers[0].process.returncode == 0


@pytest.mark.parametrize(
    ("errors", "is_hopeless"),
    [
        pytest.param([InvalidInput("broken"), InvalidConfig("wrong")], True, id="for good"),
        pytest.param([InvalidInput("broken"), Unavailable("no registry")], False, id="one may pass"),
        pytest.param([InvalidInput("broken"), None], False, id="one not tried yet"),
    ],
)
def test_there_is_hope_while_one_seat_may_have_a_worker_again(
    errors: list[MlserveError | None], is_hopeless: bool
) -> None:
    crashes = Crashes(2)

    for seat, error in enumerate(errors):
        crashes.note_lost(seat, 1.0)
        if error is not None:
            crashes.note_failed(seat, error, 1.0)

    assert (crashes.hopeless is not None) == is_hopeless
    crashes.note_ready(0)
    assert crashes.hopeless is None


def read_supervisors(folder: Path) -> dict[str, dict[str, float]]:
    """What the supervisor left for the workers to tell: value by seat, by metric."""
    told = msgspec.msgpack.decode((folder / SUPERVISOR).read_bytes(), type=Told)
    return {family.name: {point.labels[0][1]: point.value for point in family.points} for family in told.families}


def test_sighup_replaces_every_worker_once(tmp_path: Path) -> None:
    story = Story(tmp_path, GOOD).on("ready", tell(signal.SIGHUP)).on("restarted", tell(signal.SIGTERM))

    story.run()

    assert story.kinds == ["ready", "restarting", "restarted", "draining"]
    assert story.events[2]["workers"] == [worker.pid for worker in story.workers[2:]]
    assert len(story.workers) == 4


def test_a_successor_that_is_not_ready_leaves_the_old_worker_in_place(tmp_path: Path) -> None:
    story = Story(tmp_path, GOOD, GOOD, BROKEN)
    story.on("ready", tell(signal.SIGHUP)).on("worker_failed", tell(signal.SIGTERM))

    story.run()

    assert story.kinds == ["ready", "restarting", "worker_failed", "draining"]
    assert [worker.process.returncode for worker in story.workers] == [0, 0, 3]


def test_a_signal_while_workers_are_replaced_ends_those_that_begin_too(tmp_path: Path) -> None:
    story = Story(tmp_path, GOOD).on("ready", tell(signal.SIGHUP)).on("restarting", tell(signal.SIGTERM))

    story.run()

    assert story.kinds == ["ready", "restarting", "draining"]
    assert all(worker.process.returncode is not None for worker in story.workers)


def test_a_second_signal_kills_what_does_not_end(tmp_path: Path) -> None:
    story = Story(tmp_path, DEAF).on("ready", tell(signal.SIGINT)).on("draining", tell(signal.SIGINT))

    assert story.run() is signal.SIGINT
    assert [worker.process.returncode for worker in story.workers] == [-signal.SIGKILL] * 2


def test_every_error_of_ours_survives_the_way_from_a_worker() -> None:
    found = error_in(json.loads(json.dumps(error_event(InvalidInput("bad 'x'", hint="do y")))))

    assert (type(found), found.message, found.hint) == (InvalidInput, "bad 'x'", "do y")
    assert isinstance(error_in({"type": "SystemExit"}), MlserveError)
    assert isinstance(error_in({"type": "annotations"}), MlserveError)


def test_a_worker_stays_down_longer_each_time_until_one_has_held() -> None:
    backoff = Backoff()

    waits = [backoff.after(1.0) for _ in range(10)]

    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (FIRST_S, LAST_S)
    assert backoff.after(HELD_S) == FIRST_S


def test_all_cores_are_given_away_and_each_worker_has_one() -> None:
    assert sum(Seat(number, 3, Path()).share_of(8) for number in range(3)) == 8
    assert [Seat(number, 3, Path()).share_of(2) for number in range(3)] == [1, 1, 1]
