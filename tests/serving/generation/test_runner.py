"""A process that is kept running: what becomes of requests when it ends, hangs or refuses. The process has no model."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlserve.errors import DeadlineExceeded, InvalidInput, MlserveError, Unavailable
from mlserve.serving.generation import runner as runners
from mlserve.serving.generation.process import ChildProcess
from mlserve.serving.generation.runner import ChildRunner
from mlserve.serving.supervising.backoff import Backoff

CHILD = """
import os, sys, time
from pathlib import Path
from mlserve.core.telling import error_event
from mlserve.errors import InvalidInput
from mlserve.runtime.certificate import Certificate
from mlserve.runtime.generation import messages

births = Path(sys.argv[1])
with births.open("a") as file:
    file.write("x")
while (asked := messages.read(sys.stdin.buffer)) is not None:
    if asked["ask"] == "open":
        if asked["folder"] == "refused":
            answer = error_event(InvalidInput("it cannot be loaded", hint="look"))
        elif asked["folder"] == "once" and births.stat().st_size > 1 and births.stat().st_size < 4:
            sys.exit(3)
        else:
            certificate = Certificate(True, "close", 0.0, -1, "", "cpu", 1).to_dict()
            answer = {"event": "opened", "certificate": certificate, "run_s": 0.5}
    else:
        first = asked["prompts"][0]
        if first == "die":
            os._exit(9)
        if first == "hang":
            time.sleep(600)
        if first == "refuse":
            answer = error_event(InvalidInput("not this text"))
        else:
            texts = [(f"{prompt}:{wish['max_tokens']}:{wish['seed']}", "stop", 1, 2)
                     for prompt, wish in zip(asked["prompts"], asked["wishes"])]
            answer = {"event": "generated", "texts": texts}
    frame = messages.pack(answer)
    for at in range(0, len(frame), 7):  # in pieces, as pipes may bring it
        sys.stdout.buffer.write(frame[at : at + 7])
        sys.stdout.buffer.flush()
"""

Open = Callable[..., ChildRunner]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """``opened("folder")`` is a runner whose processes note their births in ``tmp_path``; closed in the end."""
    made: list[ChildRunner] = []

    def open_(folder: str = "", run_limit_s: float = 60.0) -> ChildRunner:
        start = partial(ChildProcess, (sys.executable, "-c", CHILD, str(tmp_path / "births")))
        opening = {"ask": "open", "folder": folder, "label": "chat:1"}
        runner = ChildRunner(
            opening, open_limit_s=60.0, run_limit_s=run_limit_s, start=start, backoff=Backoff(_next_s=0.01)
        )
        made.append(runner)
        return runner

    yield open_
    for runner in made:
        runner.close()


def texts(*values: str) -> dict[str, Any]:
    return {"text_input": np.array(values, object)}


def until_up(runner: ChildRunner) -> None:
    for _ in range(3000):
        if runner.is_up:
            return
        time.sleep(0.02)
    raise AssertionError("it was not started again")


def test_texts_are_answered_in_order(opened: Open) -> None:
    found = opened().run(texts("a", "b"), ["text_output", "output_tokens"])

    assert list(found) == ["text_output", "output_tokens"]
    assert found["text_output"].tolist() == ["a:16:None", "b:16:None"]
    assert found["output_tokens"].dtype == np.int32


def test_what_it_refuses_is_told_and_it_goes_on(opened: Open) -> None:
    runner = opened()

    with pytest.raises(InvalidInput, match="not this text"):
        runner.run(texts("refuse"))

    assert runner.run(texts("a"))["finish_reason"].tolist() == ["stop"]


def test_a_process_that_ends_costs_what_it_had_and_is_started_again(opened: Open, tmp_path: Path) -> None:
    runner = opened()

    with pytest.raises(Unavailable, match="ended before it had answered"):
        runner.run(texts("die"))
    until_up(runner)

    assert runner.run(texts("a"))["text_output"].tolist() == ["a:16:None"]
    assert (tmp_path / "births").read_text() == "xx"


def test_one_that_is_killed_between_requests_is_started_again(opened: Open) -> None:
    runner = opened()
    first = runner.pid
    assert first is not None

    os.kill(first, signal.SIGKILL)
    while runner.pid == first:
        time.sleep(0.01)
    until_up(runner)

    assert runner.run(texts("a"))["finish_reason"].tolist() == ["stop"]


def test_while_there_is_none_requests_are_refused_at_once(opened: Open) -> None:
    runner = opened("once")  # the second and third process end before they are open

    with pytest.raises(Unavailable):
        runner.run(texts("die"))
    with pytest.raises(Unavailable, match="being started again"):
        runner.run(texts("a"))
    until_up(runner)

    assert runner.run(texts("a"))["finish_reason"].tolist() == ["stop"]


def test_one_that_hangs_is_given_up_and_replaced(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "GRACE_S", 0.2)
    runner = opened(run_limit_s=0.2)
    hanging = runner.pid

    with pytest.raises(DeadlineExceeded):
        runner.run(texts("hang"))
    until_up(runner)

    assert runner.pid != hanging
    assert runner.run(texts("a"))["finish_reason"].tolist() == ["stop"]


def test_a_folder_that_cannot_be_opened_is_told_and_nothing_is_left(opened: Open) -> None:
    with pytest.raises(MlserveError) as told:
        opened("refused")

    assert (type(told.value), told.value.message, told.value.hint) == (InvalidInput, "it cannot be loaded", "look")


def test_closing_ends_the_process_for_good(opened: Open, tmp_path: Path) -> None:
    runner = opened()
    pid = runner.pid
    assert pid is not None

    runner.close()
    runner.close()

    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(Unavailable):
        runner.run(texts("a"))
    keepers = [thread for thread in threading.enumerate() if thread.name == "keeper of chat:1"]
    for keeper in keepers:
        keeper.join(10.0)
    assert (tmp_path / "births").read_text() == "x"


def test_long_answers_come_whole(opened: Open) -> None:
    long = "é" * 200_000

    assert opened().run(texts(long))["text_output"].tolist() == [f"{long}:16:None"]
