"""The search on a made-up machine: settings are numbers, time passes only while one is measured."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from mlserve.bench.searching import LEAST_PAIRS, MOST_PAIRS, Found, Search


class FakeMachine:
    """Measures a number as its own ``speed``, with ``noise`` (a share) drawn anew each time; each takes a second.

    The machine may slow down while it is measured: ``drift`` is what it loses in a second.
    """

    def __init__(self, speed: Callable[[int], float], *, noise: float = 0.0, drift: float = 0.0, seed: int = 0) -> None:
        self.now_s = 100.0
        self.asked: list[int] = []
        self._speed = speed
        self._noise = noise
        self._drift = drift
        self._random = random.Random(seed)

    def measure(self, setting: int) -> float:
        self.now_s += 1.0
        self.asked.append(setting)
        slowed = max(0.1, 1.0 - self._drift * (self.now_s - 100.0))
        return self._speed(setting) * slowed * self._random.lognormvariate(0.0, self._noise)


def searched(
    machine: FakeMachine,
    grid: Sequence[int],
    near: Callable[[int], Sequence[int]] = lambda _: (),
    budget_s: float = 300.0,
) -> Found[int, float]:
    search = Search(machine.measure, lambda sample: sample, lambda: machine.now_s, budget_s)
    return search.run(grid, near)


def test_the_best_of_the_grid_and_of_what_lies_beside_it_is_found() -> None:
    machine = FakeMachine(lambda setting: 1000.0 - (setting - 23) ** 2)

    found = searched(machine, [10, 16, 20, 32], near=lambda setting: (setting - 3, setting + 3))

    assert (found.default, found.best, found.is_better) == (10, 23, True)
    assert found.gain == pytest.approx(1000 / 831)
    assert len(found.before) == len(found.after) == MOST_PAIRS


def test_a_default_that_is_the_best_is_measured_alone_and_stays() -> None:
    found = searched(FakeMachine(lambda setting: 10.0 - setting), [1, 2, 4])

    assert (found.best, found.is_better, found.gain, found.interval) == (1, False, None, None)
    assert (len(found.before), len(found.after)) == (LEAST_PAIRS, 0)


def test_what_is_better_by_noise_alone_is_hardly_ever_taken() -> None:
    taken = [
        searched(FakeMachine(lambda _: 100.0, noise=0.1, seed=seed), range(12), budget_s=200.0).is_better
        for seed in range(100)
    ]

    assert sum(taken) <= 4  # one in forty of the intervals at 95 % lies above, and the gain must matter too


def test_what_is_clearly_better_is_found_through_noise_and_drift() -> None:
    found = [
        searched(
            FakeMachine(lambda setting: 130.0 if setting == 7 else 100.0, noise=0.1, drift=0.003, seed=seed), range(12)
        )
        for seed in range(20)
    ]

    assert sum(one.best == 7 and one.is_better for one in found) >= 19


def test_a_gain_too_small_to_matter_is_not_taken() -> None:
    found = searched(FakeMachine(lambda setting: 100.0 + setting), [0, 1])

    assert (found.best, found.is_better) == (1, False)
    assert found.gain == pytest.approx(1.01)


def test_poor_settings_are_dropped_early() -> None:
    machine = FakeMachine(lambda setting: 100.0 + 50.0 * setting, noise=0.02)

    searched(machine, range(8))

    asked = Counter(machine.asked)
    assert asked[1] < asked[4] < asked[7]


def test_every_setting_has_its_chance_before_any_is_dropped() -> None:
    machine = FakeMachine(lambda setting: 100.0 + 50.0 * setting, noise=0.02)

    found = searched(machine, range(8), budget_s=24.0)

    assert machine.asked[:8] == list(range(8))
    assert found.best == 7


def test_all_that_are_left_take_turns_at_going_first() -> None:
    machine = FakeMachine(lambda _: 1.0)

    searched(machine, [1, 2, 3])

    assert machine.asked[:9] == [1, 2, 3, 2, 3, 1, 3, 1, 2]


def test_the_budget_is_kept() -> None:
    machine = FakeMachine(lambda setting: 100.0 + 50.0 * setting, noise=0.02)

    searched(machine, range(8), near=lambda setting: (setting + 100,), budget_s=50.0)

    assert machine.now_s - 100.0 <= 52.0


@pytest.mark.parametrize("budget_s", [0.5, 3.0, 9.0])
def test_too_little_time_is_no_reason_to_leave_the_default(budget_s: float) -> None:
    found = searched(FakeMachine(lambda setting: 1.0 + setting), range(8), budget_s=budget_s)

    assert not found.is_better
    assert found.before


def test_a_default_that_achieves_nothing_is_beaten() -> None:
    found = searched(FakeMachine(float), [0, 5])

    assert (found.best, found.is_better) == (5, True)
