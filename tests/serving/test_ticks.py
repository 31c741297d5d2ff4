"""How much a tick takes on; and the whole against simpler policies in virtual time, where the loop is what is short."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from mlserve.core.slo import Slo
from mlserve.serving.ticks import MOST_UNSEEN, TICK_SHARE, WORTH, Ticks
from tests.serving.simulating import Outcome, bursty, poisson
from tests.serving.simulating_loop import Loop, simulate_loop

LIMIT_S = 20e-3
SLO = Slo(99.0, LIMIT_S)
WINDOW_S = 2e-3
READ_S, REFUSE_S, REST_S = 10e-6, 8e-6, 10e-6
SEEDS = (1, 2, 3)
REQUESTS = 8000

# Four times what a tabular request costs, so that fewer requests make as many bursts.
LOOPS = {
    "cheap refusals": Loop(48e-6, 32e-6, 16e-6, 120e-6, 24e-6),
    "usual refusals": Loop(48e-6, 48e-6, 16e-6, 120e-6, 24e-6),
    "refusals as dear as answers": Loop(48e-6, 88e-6, 16e-6, 120e-6, 24e-6),
}
TRAFFIC: dict[str, Callable[[float, int, int], list[float]]] = {"poisson": poisson, "bursty": bursty}


class Driven:
    """Ticks that are driven one after another, without a pause, by requests that cost what the constants say."""

    def __init__(self, *, clients: int = 0, refuse_s: float = REFUSE_S) -> None:
        self.ticks = Ticks(LIMIT_S)
        self.clients = clients
        self.refuse_s = refuse_s
        self.now_s = 0.0

    def tick(self, requests: int, *, idle_s: float = 0.0, stalled_s: float = 0.0) -> int:
        """One tick of so many requests, after ``idle_s``; how many of them were refused."""
        ticks = self.ticks
        cpu_s = self.now_s
        self.now_s += idle_s
        ticks.begin(self.now_s, cpu_s, self.clients)
        refused = 0
        for number in range(requests):
            ticks.read += 1
            work_s = (number - refused) * REST_S
            is_refused = ticks.read >= ticks.look_at and (
                ticks.is_full or not ticks.has_room(self.now_s + stalled_s, work_s)
            )
            refused += is_refused
            self.now_s += self.refuse_s if is_refused else READ_S
        ticks.refused = refused
        read_until_s = self.now_s - idle_s
        self.now_s += (requests - refused) * REST_S
        ticks.end(self.now_s, read_until_s)
        return refused


def grown(**options: float) -> Driven:
    """A loop that has been busy, with ticks that became longer."""
    driven = Driven(**options)  # type: ignore[arg-type]
    for requests in (50, 100, 200, 300):
        driven.tick(requests)
    return driven


def test_a_tick_takes_two_fifths_of_the_objective_while_the_loop_is_busy() -> None:
    driven = grown()

    began_s = driven.now_s
    refused = driven.tick(600)

    assert refused > 0
    assert (600 - refused) * (READ_S + REST_S) == pytest.approx(TICK_SHARE * LIMIT_S, rel=0.1)
    assert driven.now_s - began_s < LIMIT_S / 2


def test_what_comes_all_at_once_to_an_idle_loop_may_take_longer() -> None:
    driven = grown()

    assert driven.tick(600, idle_s=1.0) == 0
    assert driven.tick(1200, idle_s=1.0) > 0


def test_a_few_clients_who_all_ask_again_have_not_waited_unseen() -> None:
    assert grown(clients=0).tick(450) > 0
    assert grown(clients=300).tick(450) == 0


def test_a_refusal_that_costs_what_an_answer_costs_is_not_made() -> None:
    driven = grown(refuse_s=READ_S + REST_S)

    refused = [driven.tick(600) for _ in range(50)]

    assert sum(refused) < 0.15 * 50 * 600
    assert driven.ticks.refuse_s > 0.5 * WORTH * (READ_S + REST_S)


def test_refusals_that_were_too_dear_are_tried_again() -> None:
    driven = grown(refuse_s=READ_S + REST_S)
    for _ in range(20):
        driven.tick(600)
    driven.refuse_s = 2e-6

    refused = [driven.tick(600) for _ in range(200)]

    assert sum(refused[100:]) > 100 * 100


def test_the_first_request_of_a_tick_is_taken_whatever_the_objective() -> None:
    ticks = Ticks(1e-9)
    for number in range(20):
        ticks.begin(number * 1e-3, number * 1e-3)
        ticks.read += 1

        assert ticks.read < ticks.look_at or ticks.has_room(number * 1e-3 + 1e-4, 0.0)

        ticks.end(number * 1e-3 + 5e-4, number * 1e-3 + 1e-4)


def test_who_is_late_by_the_clock_is_refused_though_the_loop_has_done_little() -> None:
    driven = Driven()
    driven.tick(10)

    assert driven.tick(4 * MOST_UNSEEN, stalled_s=2 * LIMIT_S) >= 3 * MOST_UNSEEN


def test_a_stall_that_all_are_in_time_after_refuses_nobody() -> None:
    assert grown().tick(300, stalled_s=0.5 * LIMIT_S) == 0


@cache
def outcomes(loop: str, traffic: str, load: float, clients: int, policy: str) -> tuple[Outcome, ...]:
    """What ``policy`` makes of the same arrivals, for each seed."""
    model = LOOPS[loop]
    rate = load * model.capacity
    slo, window_s = (SLO, 0.0) if policy == "slo" else (None, WINDOW_S if policy == "window" else 0.0)
    return tuple(
        simulate_loop(model, TRAFFIC[traffic](rate, REQUESTS, seed), seed, slo=slo, window_s=window_s, clients=clients)
        for seed in SEEDS
    )


def within(found: tuple[Outcome, ...]) -> float:
    """The share of all requests that was answered in time."""
    return sum(one.within(LIMIT_S) for one in found) / sum(one.offered for one in found)


@pytest.mark.parametrize("clients", [0, 256])
@pytest.mark.parametrize("load", [0.2, 0.7, 1.0])
@pytest.mark.parametrize("traffic", TRAFFIC)
@pytest.mark.parametrize("loop", LOOPS)
def test_goodput_is_never_below_that_of_simpler_policies(loop: str, traffic: str, load: float, clients: int) -> None:
    ours = within(outcomes(loop, traffic, load, clients, "slo"))

    for policy in ("work-conserving", "window"):
        # Two percent is what the order of random numbers makes; where refusing does not pay, it is tried now and then.
        assert ours >= within(outcomes(loop, traffic, load, clients, policy)) - 0.02


@pytest.mark.parametrize("loop", ["cheap refusals", "usual refusals"])
def test_in_bursts_beyond_what_the_loop_can_do_much_more_is_in_time_than_with_a_window(loop: str) -> None:
    ours = outcomes(loop, "bursty", 0.7, 0, "slo")

    assert within(ours) > 1.25 * within(outcomes(loop, "bursty", 0.7, 0, "window"))
    answered = sum(len(one.latencies_s) for one in ours)
    assert sum(one.within(LIMIT_S) for one in ours) > 1.25 * answered * within(
        outcomes(loop, "bursty", 0.7, 0, "work-conserving")
    )


@pytest.mark.parametrize("traffic", TRAFFIC)
@pytest.mark.parametrize("loop", LOOPS)
def test_at_low_load_nobody_is_refused_and_all_are_in_time(loop: str, traffic: str) -> None:
    for one in outcomes(loop, traffic, 0.2, 0, "slo"):
        assert one.refused == 0
        assert one.within(LIMIT_S) == one.offered


def test_a_processor_that_others_use_too_does_not_make_the_loop_refuse() -> None:
    loop = Loop(stall_s=4e-3, stalled=1.0)
    one = simulate_loop(loop, poisson(0.6 * loop.capacity, REQUESTS, seed=1), seed=1, slo=SLO, clients=256)

    assert one.refused < 0.02 * one.offered
