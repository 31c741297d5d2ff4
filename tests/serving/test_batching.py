"""The batching policy, by properties and in virtual time."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlserve.serving.batching import RowQueue, Waiting, equal_share, pieces
from mlserve.serving.holding import hold_until
from mlserve.serving.seam import InferRequest


def waiting(
    rows: int = 1, key: object = (), deadline_s: float = inf, arrived_s: float = 0.0, rank: float = 0.0
) -> Waiting:
    return Waiting(InferRequest("m", None, []), lambda answer: None, rows, key, arrived_s, rank, deadline_s)


def filled(*requests: Waiting) -> RowQueue:
    queue = RowQueue()
    for one in requests:
        queue.add(one)
    return queue


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(
                st.integers(1, 9), st.sampled_from([None, "a", "b"]), st.sampled_from(["wait", "cancel", "expire"])
            ),
            st.integers(1, 12),
        ),
        max_size=60,
    )
)
def test_every_request_is_taken_once_in_order_with_its_like_and_within_the_limit(steps: list[object]) -> None:
    queue, added, taken = RowQueue(), [], []

    def take(limit: int) -> bool:
        oldest = queue.oldest()
        batch = queue.take(limit, now_s=10.0)
        assert bool(batch) or not queue
        assert sum(one.rows for one in batch) <= limit or len(batch) == 1
        assert len({one.key for one in batch}) <= 1
        assert len(batch) == 1 or all(one.key is not None for one in batch)
        if oldest is not None and oldest.deliver is not None and oldest.deadline_s >= 10.0:
            assert batch[0] is oldest, "who has waited longest goes first"
        taken.extend(batch)
        return bool(batch)

    for step in steps:
        if isinstance(step, int):
            take(step)
        else:
            rows, key, fate = step  # type: ignore[misc]
            one = waiting(rows, key, deadline_s=5.0 if fate == "expire" else inf)
            queue.add(one)
            if fate == "cancel":
                one.cancel()
            added.append((one, fate))
        left = {id(one) for one in taken} | {id(one) for one in queue.expired}
        assert queue.rows == sum(one.rows for one, fate in added if fate != "cancel" and id(one) not in left)
    while take(4):
        pass

    assert {id(one) for one in taken} == {id(one) for one, fate in added if fate == "wait"}
    assert {id(one) for one in queue.expired} == {id(one) for one, fate in added if fate == "expire"}
    assert len(taken) == len({id(one) for one in taken})
    for key in ("a", "b", None):
        numbers = [one.number for one in taken if one.key == key]
        assert numbers == sorted(numbers)
    assert queue.rows == 0
    assert len(queue) == 0


def test_an_expired_request_takes_no_room_in_the_batch() -> None:
    late, first, second = waiting(3, deadline_s=1.0), waiting(2), waiting(2)
    queue = filled(late, first, second)

    assert queue.take(4, now_s=2.0) == [first, second]
    assert queue.expired == [late]


def test_requests_that_gave_up_do_not_pile_up_behind_one_that_waits() -> None:
    patient = waiting(key="a")
    queue = filled(patient)
    for number in range(1000):
        hasty = waiting(key="b" if number % 2 else "a")
        queue.add(hasty)
        hasty.cancel()
        hasty.cancel()

    assert queue.rows == 1
    assert len(queue) < 200
    assert queue.take(8, 0.0) == [patient]
    assert not queue.take(8, 0.0)
    assert not queue


def test_a_request_larger_than_the_limit_goes_by_itself() -> None:
    small, large, after = waiting(1), waiting(100), waiting(1)
    queue = filled(small, large, after)

    assert [queue.take(8, 0.0) for _ in range(3)] == [[small], [large], [after]]


def test_a_request_is_never_split_to_fill_a_batch() -> None:
    first, second = waiting(3), waiting(3)

    assert filled(first, second).take(5, 0.0) == [first]


def test_requests_of_unequal_shape_do_not_close_each_others_batch() -> None:
    a1, b1, a2, b2 = waiting(key="a"), waiting(key="b"), waiting(key="a"), waiting(key="b")
    queue = filled(a1, b1, a2, b2)

    assert [queue.take(8, 0.0), queue.take(8, 0.0), queue.take(8, 0.0)] == [[a1, a2], [b1, b2], []]


@given(queued=st.integers(1, 1000), idle=st.integers(0, 16), most=st.integers(1, 256))
def test_idle_lanes_share_equally(queued: int, idle: int, most: int) -> None:
    share = equal_share(queued, idle, most)

    assert 1 <= share <= most
    assert share * max(1, idle) >= min(queued, most * max(1, idle))


def test_a_hold_ends_with_a_full_batch_or_the_delay() -> None:
    assert hold_until(5.0, queued_rows=1, max_rows=8, max_delay_s=0.0) == 5.0
    assert hold_until(5.0, queued_rows=8, max_rows=8, max_delay_s=0.1) == 5.0
    assert hold_until(5.0, queued_rows=7, max_rows=8, max_delay_s=0.1) == pytest.approx(5.1)


@given(rows=st.integers(1, 5000), most=st.integers(1, 300))
def test_pieces_cover_the_rows_once_and_none_is_too_large(rows: int, most: int) -> None:
    ranges = pieces(rows, most)

    assert [row for start, stop in ranges for row in range(start, stop)] == list(range(rows))
    sizes = [stop - start for start, stop in ranges]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1


@dataclass
class Simulation:
    """Lanes that take T(b) = alpha + beta b, fed by the policy as the engine feeds them, in virtual time."""

    alpha_s: float
    beta_s: float
    lanes: int
    max_rows: int
    waits_s: list[float] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    busy_s: float = 0.0

    def run(self, arrivals_s: list[float]) -> float:
        """Feeds all arrivals of one row each; the time when the last answer is there."""
        queue, idle, now_s = RowQueue(), self.lanes, 0.0
        events: list[tuple[float, int, str]] = [(at, number, "arrival") for number, at in enumerate(arrivals_s)]
        heapq.heapify(events)
        while events:
            now_s, _, kind = heapq.heappop(events)
            if kind == "arrival":
                queue.add(waiting(arrived_s=now_s))
            else:
                idle += 1
            if events and events[0][0] == now_s:
                continue  # the same tick
            while idle and queue:
                batch = queue.take(equal_share(queue.rows, idle, self.max_rows), now_s)
                idle -= 1
                run_s = self.alpha_s + self.beta_s * len(batch)
                self.busy_s += run_s
                self.batches.append(len(batch))
                self.waits_s += [now_s - one.arrived_s for one in batch]
                heapq.heappush(events, (now_s + run_s, len(arrivals_s) + len(self.batches), "done"))
            assert not (idle and queue), "no lane is idle while a request waits"
        return now_s


def poisson(rate: float, count: int, seed: int) -> list[float]:
    rng = random.Random(seed)
    at_s, arrivals = 0.0, []
    for _ in range(count):
        at_s += rng.expovariate(rate)
        arrivals.append(at_s)
    return arrivals


def test_at_low_load_nobody_waits() -> None:
    simulation = Simulation(alpha_s=1e-3, beta_s=1e-3, lanes=2, max_rows=8)

    simulation.run([0.01 * number for number in range(200)])

    assert max(simulation.waits_s) == 0.0
    assert set(simulation.batches) == {1}


def test_batches_grow_by_themselves_until_the_load_is_carried() -> None:
    simulation = Simulation(alpha_s=4e-3, beta_s=0.5e-3, lanes=1, max_rows=64)
    rate = 1000.0  # half of the ceiling 1/beta; one at a time could carry 222 a second

    end_s = simulation.run(poisson(rate, 5000, seed=1))

    settled = rate * simulation.alpha_s / (1 - rate * simulation.beta_s)
    assert end_s < 5000 / rate * 1.2
    assert sum(simulation.batches) / len(simulation.batches) == pytest.approx(settled, rel=0.25)


def test_at_saturation_the_lanes_give_nearly_all_they_have() -> None:
    simulation = Simulation(alpha_s=1e-3, beta_s=1e-3, lanes=2, max_rows=16)

    end_s = simulation.run([0.0] * 1600)

    assert 1600 / end_s > 0.9 * 2 * 16 / (1e-3 + 16e-3)


def test_a_burst_is_shared_by_all_lanes_at_once() -> None:
    simulation = Simulation(alpha_s=1e-3, beta_s=1e-3, lanes=4, max_rows=64)

    simulation.run([0.0] * 10)

    assert sorted(simulation.batches) == [1, 3, 3, 3] or sorted(simulation.batches) == [2, 2, 3, 3]


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), lanes=st.integers(1, 4), most=st.sampled_from([1, 4, 32]))
def test_under_any_stable_load_all_are_answered_soon(seed: int, lanes: int, most: int) -> None:
    simulation = Simulation(alpha_s=1e-3, beta_s=1e-3, lanes=lanes, max_rows=most)
    capacity = lanes * most / (1e-3 + most * 1e-3)

    simulation.run(poisson(0.6 * capacity, 600, seed))

    assert len(simulation.waits_s) == 600
    assert max(simulation.waits_s) < 40 * (1e-3 + most * 1e-3)
