"""Threads that keep nobody: lanes, the loader's, and the one that tells events."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from mlserve.serving import events as module
from mlserve.serving.events import Events
from mlserve.serving.lanes import Lanes
from mlserve.serving.threads import OneThread


def test_one_thread_does_one_thing_after_another() -> None:
    thread = OneThread("t")
    order: list[int] = []

    futures = [thread.submit(order.append, number) for number in range(20)]
    failing = thread.submit(lambda: 1 // 0)
    for future in futures:
        future.result(60)

    assert order == list(range(20))
    with pytest.raises(ZeroDivisionError):
        failing.result(60)
    thread.shutdown()


def test_what_is_cancelled_before_its_turn_is_not_done() -> None:
    thread, gate, done = OneThread("t"), threading.Event(), []

    thread.submit(gate.wait, 60.0)
    cancelled = thread.submit(done.append, 1)
    assert cancelled.cancel()
    last = thread.submit(done.append, 2)
    gate.set()
    last.result(60)

    assert done == [2]
    thread.shutdown()


def test_a_lane_whose_loop_is_gone_ends() -> None:
    gate = threading.Event()

    async def story() -> Lanes:
        lanes = Lanes(1, asyncio.get_running_loop())
        lanes.start()
        lanes.submit(lambda: gate.wait(60.0), print)
        return lanes

    lanes = asyncio.run(story())
    gate.set()
    lanes.close(60.0)

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lane-")]


def told(count: int, event: Any) -> dict[str, Any]:
    return {"event": event, "number": count}


def test_ready_comes_first_and_the_rest_in_order() -> None:
    seen: list[dict[str, Any]] = []
    events = Events(seen.append)

    events(told(1, "loaded"))
    events.ready(told(0, "ready"))
    events(told(2, "swapped"))
    events.close(60.0)

    assert [event["number"] for event in seen] == [0, 1, 2]


def test_a_reader_that_stops_costs_events_and_not_the_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_UNREAD", 5)
    gate, seen = threading.Event(), []

    def emit(event: dict[str, Any]) -> None:
        gate.wait(60.0)
        seen.append(event["number"])

    events = Events(emit)
    events.ready(told(0, "ready"))
    for number in range(1, 20):
        events(told(number, "loaded"))
    with caplog.at_level(logging.WARNING):
        events.close(0.0)
    gate.set()

    assert "nobody reads the server's events" in caplog.text
    assert len(seen) <= 5


def test_a_reader_that_is_gone_is_noted_once(caplog: pytest.LogCaptureFixture) -> None:
    def emit(event: dict[str, Any]) -> None:
        raise BrokenPipeError("nobody there")

    events = Events(emit)
    with caplog.at_level(logging.WARNING):
        events.ready(told(0, "ready"))
        events(told(1, "loaded"))
        events.close(60.0)

    assert len(caplog.records) == 1
