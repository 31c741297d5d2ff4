"""How equal is equal."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from mlserve.runtime.closeness import closeness


def test_equal_bits_are_exact() -> None:
    array = np.array([1.0, np.nan, np.inf, -0.0], np.float32)

    assert closeness({"y": array}, {"y": array.copy()}).is_exact


def test_the_last_place_is_one_ulp() -> None:
    for dtype in (np.float16, np.float32, np.float64):
        one = np.array([1.0, -1.0], dtype)
        seen = closeness({"y": one}, {"y": np.nextafter(one, dtype(2))})

        assert seen.max_ulp == 1
        assert seen.is_close
        assert not seen.is_exact


def test_ulps_are_counted_across_zero() -> None:
    tiny = np.array([np.finfo(np.float32).smallest_subnormal, 1.0], np.float32)

    assert closeness({"y": tiny}, {"y": tiny * np.array([-1, 1], np.float32)}).max_ulp == 2


def test_the_allowance_is_in_the_scale_of_the_output() -> None:
    large = np.array([1000.0, 0.0], np.float32)

    assert closeness({"y": large}, {"y": large + np.float32(0.01)}).is_close
    assert not closeness({"y": large}, {"y": large + np.float32(0.1)}).is_close
    assert closeness({"y": large}, {"y": large + np.float32(0.1)}, allowance=10).is_close


def test_bfloat16_is_a_float() -> None:
    array = np.array([1.0, 2.0], ml_dtypes.bfloat16)

    assert closeness({"y": array}, {"y": array}).is_exact
    assert closeness({"y": array}, {"y": array * ml_dtypes.bfloat16(1.01)}).is_close


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        pytest.param(np.array([1.0, 2.0]), np.array([1.0]), id="shape"),
        pytest.param(np.float32([1.0]), np.float64([1.0]), id="type"),
        pytest.param(np.array([1, 2]), np.array([1, 3]), id="integers"),
        pytest.param(np.array(["a"], object), np.array(["b"], object), id="strings"),
        pytest.param(np.float32([1.0]), np.float32([np.nan]), id="nan against number"),
        pytest.param(np.float32([1.0, np.inf]), np.float32([1.0, -np.inf]), id="infinities"),
    ],
)
def test_other_things_are_different(expected: np.ndarray, actual: np.ndarray) -> None:
    assert not closeness({"y": expected}, {"y": actual}).is_close


def test_other_names_are_different() -> None:
    assert not closeness({"y": np.ones(1)}, {"z": np.ones(1)}).is_close


@pytest.mark.parametrize("dtype", [np.float32, np.int64, object], ids=str)
def test_nothing_equals_nothing(dtype: type) -> None:
    assert closeness({"y": np.empty((0, 3), dtype)}, {"y": np.empty((0, 3), dtype)}).is_exact


def test_scalars_and_other_nans_compare() -> None:
    assert closeness({"y": np.float32(1)}, {"y": np.float32(1)}).is_exact
    quiet = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)
    assert closeness({"y": quiet[:1]}, {"y": quiet[1:]}).is_exact
