"""Requests are due as they came, in one order over all processes, and one that could not be sent counts from then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mlserve.errors import UsageError
from mlserve.replay.pacing import Answer, paced
from mlserve.replay.schedule import Source, Unit, merged, parse_speed, units_of
from mlserve.rows.captured_reading import Captured
from tests.replay.making import VirtualWire
from tests.traffic.making import Clock, captured, recorded, writer


def units(tmp_path: Path, *, in_runs: bool = False) -> Iterator[Unit]:
    capture = Captured(tmp_path)
    return merged(
        [
            Source(one.first_ns, lambda one=one: units_of(capture.read(one), "recorded", in_runs=in_runs))  # type: ignore[misc]
            for one in capture.streams()
        ]
    )


def each_second(count: int) -> list[object]:
    return [recorded((1,), start=number, at_s=float(number), batch_id=number + 1) for number in range(count)]


@pytest.mark.parametrize("text", ["fast", "0x", "-1x", "2", "x", "nanx"])
def test_a_speed_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--speed"):
        parse_speed(text)


def test_streams_of_several_processes_are_one_order(tmp_path: Path) -> None:
    for server, offset in (("a", 0.0), ("b", 0.5), ("c", 0.25)):
        one = writer(tmp_path, Clock(), server)
        for number in range(20):
            one.write([recorded((1,), start=number, at_s=number + offset, batch_id=number)])
        one.close()

    due = [unit.due_ns for unit in units(tmp_path)]

    assert len(due) == 60
    assert due == sorted(due)


def test_a_request_that_was_written_late_is_sent_in_time(tmp_path: Path) -> None:
    captured(tmp_path, recorded((1,), start=1, at_s=12.0), recorded((1,), start=0, at_s=11.0, batch_id=2))

    assert [unit.batch.ids[0] for unit in units(tmp_path)] == ["id-0", "id-1"]


def test_a_stream_is_not_opened_before_its_time() -> None:
    opened: list[int] = []

    def source(number: int) -> Source[Unit]:
        def begun() -> Iterator[Unit]:
            opened.append(number)
            return iter(())

        return Source(number, begun)

    assert list(merged([source(number) for number in (3, 1, 2)])) == []
    assert opened == [1, 2, 3]


def test_a_run_is_due_when_its_last_request_had_come(tmp_path: Path) -> None:
    captured(tmp_path, recorded((1, 1, 1), batch_id=4), recorded((1,), start=9, batch_id=5, at_s=11.0))

    first, second = units(tmp_path, in_runs=True)

    assert (first.batch.requests, second.batch.requests) == (3, 1)
    assert first.due_ns == first.batch.arrived_ns.max()


@pytest.mark.parametrize(("speed", "gap_s"), [(1.0, 1.0), (2.0, 0.5), (0.5, 2.0)])
def test_what_is_due_is_sent_at_its_distance(tmp_path: Path, speed: float, gap_s: float) -> None:
    captured(tmp_path, *each_second(4))
    wire = VirtualWire(service_s=0.01)

    answers = list(paced(units(tmp_path), wire, speed, wire.clock))

    # Captured times are good to a quarter of a microsecond.
    assert np.diff(wire.sent_s) == pytest.approx([gap_s] * 3, abs=1e-6)
    assert [answer.answers[0].took_s[0] for answer in answers] == pytest.approx([0.01] * 4, abs=1e-6)
    assert [answer.lag_s for answer in answers] == pytest.approx([0.0] * 4, abs=1e-6)


def test_as_fast_as_it_goes_nothing_is_ever_due(tmp_path: Path) -> None:
    captured(tmp_path, *each_second(5))
    wire = VirtualWire(service_s=0.01, room=1)

    answers = list(paced(units(tmp_path), wire, None, wire.clock))

    assert wire.now_s - 100.0 == pytest.approx(0.05)
    assert {answer.lag_s for answer in answers} == {None}
    assert [answer.answers[0].took_s[0] for answer in answers] == pytest.approx([0.01] * 5)


def test_who_had_to_wait_to_be_sent_counts_from_when_it_was_due(tmp_path: Path) -> None:
    """A wire for one request at a time, each three seconds, and one due each second: the fifth waits eight seconds."""
    captured(tmp_path, *each_second(5))
    wire = VirtualWire(service_s=3.0, room=1)

    answers: list[Answer] = list(paced(units(tmp_path), wire, 1.0, wire.clock))

    assert [answer.lag_s for answer in answers] == pytest.approx([0, 2, 4, 6, 8], abs=1e-5)
    assert [answer.answers[0].took_s[0] for answer in answers] == pytest.approx([3, 5, 7, 9, 11], abs=1e-5)


def test_answers_come_in_the_order_of_sending_whatever_overtakes(tmp_path: Path) -> None:
    captured(tmp_path, *each_second(6))
    wire = VirtualWire(service_s=0.3)

    answers = list(paced(units(tmp_path), wire, 100.0, wire.clock))

    assert [answer.unit.batch.ids[0] for answer in answers] == [f"id-{number}" for number in range(6)]


def test_once_told_to_stop_nothing_more_is_sent_and_what_was_sent_is_waited_for(tmp_path: Path) -> None:
    captured(tmp_path, *each_second(100))
    wire = VirtualWire(service_s=0.5)

    answers = list(paced(units(tmp_path), wire, 1.0, wire.clock, stop=lambda: wire.now_s > 110.0))

    assert len(answers) == len(wire.sent_s) == 11
