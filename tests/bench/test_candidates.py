"""What is tried: a grid around the default, and the neighbours of a good setting."""

from __future__ import annotations

from dataclasses import replace

from mlserve.bench.candidates import Space
from mlserve.runtime.tuned import Setting

DEFAULT = Setting(4, 1, 16)
SPACE = Space(4, DEFAULT, is_batchable=True, is_inline=False, largest_rows=64)


def plans(space: Space) -> set[tuple[int, int]]:
    return {(setting.lanes, setting.threads) for setting in space.coarse()}


def test_the_grid_begins_with_the_default_and_repeats_nothing() -> None:
    grid = SPACE.coarse()

    assert grid[0] == DEFAULT
    assert len(grid) == len(set(grid)) == 4 * 4


def test_cores_are_shared_out_whole_but_for_one() -> None:
    assert plans(SPACE) == {(4, 1), (2, 2), (1, 4), (3, 1)}
    assert plans(replace(SPACE, cores=6, default=Setting(6, 1, 16))) == {(6, 1), (3, 2), (1, 4), (1, 6), (5, 1)}


def test_a_model_that_runs_on_the_loop_has_no_lanes_to_choose() -> None:
    assert plans(replace(SPACE, is_inline=True)) == {(4, 1)}


def test_a_model_that_is_not_batchable_has_no_batches_to_choose() -> None:
    space = replace(SPACE, is_batchable=False, default=Setting(4, 1, 1), limit_ms=20.0)

    assert {setting.max_batch for setting in space.coarse()} == {1}
    assert space.near(space.default) == [space.default]


def test_no_batch_is_larger_than_may_be_nor_smaller_than_a_row() -> None:
    assert {one.max_batch for one in replace(SPACE, largest_rows=20).coarse()} == {1, 4, 16, 20}
    assert {one.max_batch for one in replace(SPACE, default=Setting(4, 1, 1)).coarse()} == {1, 4, 16, 64}


def test_a_default_larger_than_the_load_stays_what_it_is() -> None:
    default = Setting(4, 1, 256)

    grid = replace(SPACE, default=default).coarse()

    assert grid[0] == default
    assert {one.max_batch for one in grid[1:]} == {1, 4, 16, 64}


def test_holds_are_tried_with_an_objective_only() -> None:
    assert {one.max_delay_ms for one in SPACE.near(DEFAULT)} == {0.0}
    assert {one.max_delay_ms for one in replace(SPACE, limit_ms=20.0).near(DEFAULT)} == {0.0, 1.0, 2.0, 4.0}


def test_on_another_device_threads_stay() -> None:
    assert plans(replace(SPACE, is_on_cpu=False)) == {(4, 1), (1, 1), (2, 1)}
