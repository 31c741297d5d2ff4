"""Values seen become a range: by each rule, against what is known of the values and against ONNX Runtime's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.quantization.calibrate import HistogramCollector

from mlserve.quantize.calibration import RangeRule
from mlserve.quantize.histogram import BINS, ActivationHistogram
from mlserve.quantize.ranges import LEVELS, range_of


def seen(*batches: np.ndarray) -> ActivationHistogram:
    histogram = ActivationHistogram()
    for batch in batches:
        histogram.add(np.asarray(batch, np.float32))
    return histogram


@given(
    st.lists(
        st.lists(st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False), min_size=1, max_size=20),
        min_size=1,
        max_size=5,
    )
)
def test_every_value_is_counted_once_and_the_bins_stay_so_many(batches: list[list[float]]) -> None:
    histogram = seen(*[np.array(batch) for batch in batches])

    everything = np.concatenate([np.array(batch, np.float32) for batch in batches])
    assert (histogram.total, len(histogram.counts)) == (len(everything), BINS)
    assert (histogram.low, histogram.high) == (everything.min(), everything.max())


def test_a_histogram_that_grew_is_the_one_of_all_values_at_once() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, scale, 1000).astype(np.float32) for scale in (1e-3, 1.0, 50.0)]

    grown, whole = seen(*parts), seen(np.concatenate(parts))

    assert grown.limit == whole.limit
    # A bin that was halved holds what its two halves held: only values on a bound may count as its neighbour's.
    assert np.abs(grown.counts - whole.counts).sum() <= 2


def test_nan_and_infinities_widen_nothing() -> None:
    histogram = seen(np.array([np.nan, np.inf, -np.inf, 1.0]))

    assert (histogram.low, histogram.high, histogram.total) == (1.0, 1.0, 1)
    assert range_of(seen(np.array([np.nan])), "minmax") == (0.0, 0.0)


def test_minmax_covers_everything() -> None:
    assert range_of(seen(np.array([-3.0, 7.0])), "minmax") == (-3.0, 7.0)


def test_percentile_leaves_out_a_rare_outlier_and_no_more() -> None:
    values = np.random.default_rng(0).normal(size=1_000_000)
    values[0] = 1000.0

    low, high = range_of(seen(values), "percentile")

    exact = np.quantile(values, [0.00005, 0.99995])
    assert [low, high] == pytest.approx(exact, abs=2 * 1024 / BINS)  # one bin of a histogram that reaches to 1024


@pytest.mark.parametrize("shape", ["normal", "laplace", "uniform"])
def test_entropy_chooses_about_as_onnx_runtime_does(shape: str) -> None:
    values = getattr(np.random.default_rng(0), shape)(-1, 1, size=200_000)
    histogram = seen(values)
    edges = histogram.edges.astype(np.float32)

    low, high = range_of(histogram, "entropy")

    theirs = HistogramCollector("entropy", False, BINS, LEVELS, None, None).get_entropy_threshold(
        (histogram.counts, edges, np.float32(histogram.low), np.float32(histogram.high)), LEVELS
    )
    # Theirs drops what is left over after the last whole step, which here belongs to that step.
    assert [low, high] == pytest.approx([float(bound) for bound in theirs], abs=0.1 * histogram.limit)


def test_entropy_does_not_let_the_zeros_behind_a_relu_decide() -> None:
    values = np.random.default_rng(0).normal(size=200_000)

    _, of_both_sides = range_of(seen(values), "entropy")
    low, high = range_of(seen(np.maximum(values, 0)), "entropy")

    assert (low, high) == (0.0, pytest.approx(of_both_sides, rel=0.05))


@pytest.mark.parametrize("rule", ["minmax", "entropy", "percentile"])
def test_a_tensor_of_zeros_has_a_range_of_zero(rule: RangeRule) -> None:
    assert range_of(seen(np.zeros(100)), rule) == (0.0, 0.0)


def test_the_share_outside_a_range_is_that_of_the_values() -> None:
    values = np.random.default_rng(0).normal(size=100_000)

    assert seen(values).share_outside(-1.0, 2.0) == pytest.approx(((values < -1) | (values > 2)).mean(), abs=0.005)
    assert seen(values).share_outside(values.min(), values.max()) == 0.0
    assert ActivationHistogram().share_outside(0.0, 0.0) == 0.0
