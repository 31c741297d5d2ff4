"""Checks take turns across hosts, are ended in time, and what they have not judged stays to be looked at."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from mlserve.core.settings import DriftSettings
from mlserve.drift.running import Turn, alone, catch_up_of, skipped, time_limit, watermark_after
from mlserve.drift.windows import Bounds, LastRows, LastSpan, SinceLast
from mlserve.errors import Conflict, DeadlineExceeded, InvalidConfig
from mlserve.registry.leases import acquire, holder_of
from mlserve.registry.store import Store
from tests.drift.turns import NAME, take
from tests.registry.making import at


class Clock:
    """A time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.minutes = 0.0
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        return at(self.minutes)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.minutes += seconds / 60


def test_a_second_check_says_who_is_running(store: Store) -> None:
    clock = Clock()

    with (
        alone(store, NAME, clock=clock, holder="night"),
        pytest.raises(Conflict, match=r"night has its turn until 2026-03-01T12:01:00Z") as error,
        alone(store, NAME, clock=clock, holder="day"),
    ):
        pass

    assert error.value.hint == "--wait S waits for it"
    assert clock.slept == []


def test_a_turn_is_free_again_when_its_block_ends_however_it_ends(store: Store) -> None:
    clock = Clock()
    with pytest.raises(ValueError, match="broken"), alone(store, NAME, clock=clock, holder="one"):
        raise ValueError("broken")

    with alone(store, NAME, clock=clock, holder="two") as turn:
        assert turn.lease.token == 2


def test_one_that_waits_gets_the_turn_of_one_that_was_killed(store: Store) -> None:
    clock = Clock()
    acquire(store, NAME, "killed", now=at(0), ttl_s=60)

    with alone(store, NAME, clock=clock, holder="next", wait_s=120, sleep=clock.sleep) as turn:
        assert turn.lease.token == 2

    assert sum(clock.slept) == 60


def test_one_that_waits_gives_up(store: Store) -> None:
    clock = Clock()
    acquire(store, NAME, "busy", now=at(0), ttl_s=600)

    with (
        pytest.raises(Conflict, match="busy has its turn"),
        alone(store, NAME, clock=clock, wait_s=5, sleep=clock.sleep),
    ):
        pass

    assert sum(clock.slept) == 5


def test_a_turn_is_renewed_three_times_in_its_length(store: Store) -> None:
    clock, waits = Clock(), []
    lease = acquire(store, NAME, "one", now=at(0), ttl_s=60)
    assert lease is not None

    def is_over(seconds: float) -> bool:
        waits.append(seconds)
        clock.sleep(seconds)
        return len(waits) == 12

    Turn(store, lease, clock, 60).keep(is_over)

    assert waits == [20.0] * 12
    held = holder_of(store, NAME, now=clock())
    assert held is not None
    assert held.expires_at == at(11 * 20 / 60) + timedelta(seconds=60)


def test_a_turn_that_was_lost_is_not_taken_back(store: Store) -> None:
    clock = Clock()
    lease = acquire(store, NAME, "slept", now=at(0), ttl_s=60)
    assert lease is not None
    turn = Turn(store, lease, clock, 60)
    clock.minutes = 2
    acquire(store, NAME, "next", now=clock(), ttl_s=60)

    turn.keep(lambda seconds: False)

    with pytest.raises(Conflict, match="was lost: 'next' has it now"):
        turn.require()


def test_of_two_processes_that_ask_at_once_one_runs(url: str) -> None:
    context = multiprocessing.get_context("spawn")
    with multiprocessing.Manager() as shared:
        start, asked = shared.Barrier(2), shared.Barrier(2)
        with context.Pool(2) as pool:
            took = pool.starmap(take, [(url, start, asked)] * 2)

    assert sorted(took) == [False, True]


def test_a_process_killed_half_way_keeps_others_out_until_its_lease_ends(store: Store, url: str) -> None:
    with subprocess.Popen([sys.executable, "-m", "tests.drift.turns", url], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "taken\n"
        other.kill()
    left = holder_of(store, NAME, now=datetime.now(UTC))
    assert left is not None

    with pytest.raises(Conflict), alone(store, NAME, clock=lambda: left.expires_at - timedelta(seconds=1)):
        pass
    with alone(store, NAME, clock=lambda: left.expires_at) as turn:
        assert turn.lease.token == left.token + 1


def test_a_time_limit_ends_what_takes_longer() -> None:
    with pytest.raises(DeadlineExceeded, match=r"longer than 0\.01 s"), time_limit(0.01):
        time.sleep(30)


def test_no_time_limit_and_one_that_is_kept_change_nothing() -> None:
    def answer(seconds: float | None) -> str:
        with time_limit(seconds):
            return "done"

    assert [answer(None), answer(60)] == ["done", "done"]


START, END = at(0), at(60)


@pytest.mark.parametrize(
    ("words", "verdict", "before", "after"),
    [
        pytest.param(SinceLast(), "critical", START, END, id="a judged window was looked at"),
        pytest.param(SinceLast(), "ok", None, END, id="the first"),
        pytest.param(SinceLast(), "ok", at(90), at(90), id="never back, though a clock was"),
        pytest.param(SinceLast(), "insufficient", START, START, id="too few rows wait for more"),
        pytest.param(SinceLast(), "stale", None, None, id="nothing came"),
        pytest.param(LastSpan(timedelta(hours=1)), "ok", START, START, id="a look at other hours"),
        pytest.param(LastRows(100), "ok", START, START, id="a look at the last rows"),
    ],
)
def test_the_watermark_moves_with_what_was_judged(
    words: SinceLast | LastSpan | LastRows, verdict: str, before: datetime | None, after: datetime | None
) -> None:
    assert watermark_after(words, verdict, Bounds(START, END), before) == after


def test_how_far_back_is_looked_is_a_setting() -> None:
    assert catch_up_of(DriftSettings(max_catch_up="36h")) == timedelta(hours=36)
    with pytest.raises(InvalidConfig, match=r"drift\.max_catch_up 'long' is not a time"):
        catch_up_of(DriftSettings(max_catch_up="long"))


def test_what_is_left_out_of_a_long_silence_is_said() -> None:
    assert skipped(Bounds(START, END)) is None
    assert skipped(Bounds(START, END, skipped_from=at(-60))) == (
        "not looked at, for it lies too far back: 2026-03-01T11:00:00Z to 2026-03-01T12:00:00Z"
    )


def test_threads_of_one_process_take_turns_too(store: Store) -> None:
    clock = Clock()

    def run(number: int) -> int:
        with alone(store, NAME, clock=clock, holder=str(number)) as turn:
            return turn.lease.token

    def ask(ask_for: Callable[[int], int], number: int) -> int | None:
        try:
            return ask_for(number)
        except Conflict:
            return None

    with ThreadPoolExecutor(4) as pool:
        tokens = [token for token in pool.map(lambda n: ask(run, n), range(8)) if token is not None]

    assert sorted(tokens) == list(range(1, len(tokens) + 1))
