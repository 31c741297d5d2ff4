"""The access log: what it says of each request, whom it leaves out, and that it never keeps anybody waiting."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from mlserve.errors import InvalidConfig
from mlserve.serving import accesslog
from mlserve.serving.accesslog import AccessLog, line_of
from mlserve.serving.observing import Sampler, Seen
from mlserve.serving.seam import RunTiming

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TIMING = RunTiming(taken_s=10.002, gathered_s=10.003, ran_s=10.007, rows=8, requests=5)


def seen(request_id: str = "a", status: int = 200, timing: RunTiming | None = TIMING) -> Seen:
    return Seen("http", request_id, "10.0.0.1:5", "infer", "m", "1", status, 120, 1767323045.5, 10.0085, 10.0, timing)


def with_log(told: Callable[[AccessLog], None], file: Path | None, share: float = 1.0) -> AccessLog:
    async def story() -> AccessLog:
        log = AccessLog(asyncio.get_running_loop(), file, share)
        told(log)
        log.close(10.0)
        return log

    return asyncio.run(story())


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_line_says_what_was_asked_and_where_the_time_went() -> None:
    assert json.loads(line_of(seen())) == {
        "at": "2026-01-02T03:04:05.500Z",
        "id": "a",
        "client": "10.0.0.1:5",
        "protocol": "http",
        "action": "infer",
        "model": "m",
        "version": "1",
        "status": 200,
        "reply_bytes": 120,
        "duration_ms": 8.5,
        "queue_ms": 2.0,
        "run_ms": 4.0,
        "batch_rows": 8,
        "batch_requests": 5,
    }
    assert "run_ms" not in json.loads(line_of(seen(timing=None)))
    assert "duration_ms" not in json.loads(line_of(replace(seen(), began_s=None)))


def test_lines_are_written_in_order_and_all_of_them_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "access.jsonl"

    with_log(lambda log: [log.note(seen(str(number))) for number in range(100)] and None, file)

    assert [line["id"] for line in lines(file)] == [str(number) for number in range(100)]


def test_a_share_is_chosen_by_id_and_what_the_server_failed_at_always(tmp_path: Path) -> None:
    ids = [b"id-%d" % number for number in range(20_000)]

    def told(log: AccessLog) -> None:
        wanted = [log.wants(one, None) for one in ids]
        assert wanted == [log.wants(one, TRACEPARENT) for one in ids]
        # Four standard deviations.
        assert abs(sum(wanted) - 2000) < 4 * (20_000 * 0.1 * 0.9) ** 0.5
        assert log.wants_failure(500)
        assert not log.wants_failure(429)

    with_log(told, tmp_path / "log", 0.1)


def test_requests_without_an_id_are_taken_in_turn() -> None:
    tenth, none, every = Sampler(0.1), Sampler(0.0), Sampler(1.0)

    assert sum(tenth.takes(None) for _ in range(1000)) in (99, 100)
    assert not any(none.takes(one) for one in (None, b"x") for _ in range(100))
    assert all(every.takes(one) for one in (None, b"x") for _ in range(100))


def test_a_file_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="cannot be written"):
        with_log(lambda log: None, tmp_path / "none" / "log")


def test_a_file_that_was_moved_away_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accesslog, "FLUSH_S", 0.001)
    file, away = tmp_path / "log", tmp_path / "log.1"

    async def story() -> None:
        log = AccessLog(asyncio.get_running_loop(), file)
        log.note(seen("before"))
        while not file.read_text(encoding="utf-8"):
            await asyncio.sleep(0.001)
        file.rename(away)
        log.note(seen("after"))
        log.close(10.0)

    asyncio.run(story())

    assert [line["id"] for line in lines(away)] == ["before"]
    assert [line["id"] for line in lines(file)] == ["after"]


def test_what_cannot_be_written_fast_enough_is_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accesslog, "MAX_UNWRITTEN", 10)
    may_write = threading.Event()

    def told(log: AccessLog) -> None:
        log._thread.submit(may_write.wait, 60.0)
        for number in range(25):
            log.note(seen(str(number)))
        log._hand_over()
        log.note(seen("late"))
        may_write.set()

    log = with_log(told, tmp_path / "log")

    assert log.dropped == 16
    assert [line["id"] for line in lines(tmp_path / "log")] == [str(number) for number in range(10)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device here that is always full")
def test_a_full_disk_costs_lines_and_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    def told(log: AccessLog) -> None:
        for _ in range(2):
            log.note(seen())
            log._hand_over()

    log = with_log(told, Path("/dev/full"))

    assert log.dropped == 2
    assert caplog.text.count("the access log cannot be written") == 1
