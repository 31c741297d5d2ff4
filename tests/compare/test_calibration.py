"""Reliability bins against scikit-learn's, the error against its definition, its interval against the bootstrap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from mlserve.compare.calibration import BINS, Calibration


def drawn(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.random(rows).round(2)
    return p, np.clip(p * 1.3, 0, 1), (rng.random(rows) < p).astype(float)


def calibration_of(p: np.ndarray, q: np.ndarray, y: np.ndarray) -> Calibration:
    found = Calibration()
    found.add((p, y), (q, y), np.ones(len(p)))
    return found


def error_of(p: np.ndarray, y: np.ndarray) -> float:
    bins = np.ceil(p * BINS).clip(1, BINS)
    return sum((bins == b).mean() * abs((y - p)[bins == b].mean()) for b in set(bins.tolist()))


@given(st.integers(0, 10_000), st.integers(1, 60))
def test_bins_are_scikit_learns(seed: int, rows: int):
    p, q, y = drawn(seed, rows)

    found = calibration_of(p, q, y).bins()

    for side, probabilities in (("before", p), ("after", q)):
        observed, predicted = calibration_curve(y, probabilities, n_bins=BINS)
        assert [one["observed"] for one in found[side]] == pytest.approx(observed)
        assert [one["predicted"] for one in found[side]] == pytest.approx(predicted)
        assert sum(one["rows"] for one in found[side]) == rows


def test_the_error_is_the_mean_gap_of_bins():
    p, q, y = drawn(1, 500)
    # Bounds of bins are no decimals in binary.
    p, q = p + 1e-6, np.clip(q + 1e-6, 0, 1)

    assert calibration_of(p, q, y).errors == pytest.approx((error_of(p, y), error_of(q, y)))


def test_the_interval_is_about_the_bootstraps():
    rng = np.random.default_rng(3)
    p = rng.random(3000)
    q, y = p**1.2, (rng.random(3000) < p**2).astype(float)

    low, high = calibration_of(p, q, y).interval()

    differences = []
    for _ in range(300):
        draw = rng.integers(0, 3000, 3000)
        before, after = calibration_of(p[draw], q[draw], y[draw]).errors
        differences.append(after - before)
    # A standard deviation of 300 draws is good to 4 %, which three times are 12.
    assert (high - low) / 3.92 == pytest.approx(np.std(differences), rel=0.12)


def test_parts_merged_are_the_whole():
    p, q, y = drawn(4, 100)
    merged = Calibration()
    for part in (slice(60, 100), slice(0, 60)):
        merged.merge(Calibration.from_state(calibration_of(p[part], q[part], y[part]).state()))

    whole = calibration_of(p, q, y)

    # Sums in another order.
    assert merged.errors == pytest.approx(whole.errors, rel=1e-12)
    assert merged.interval() == pytest.approx(whole.interval(), rel=1e-9)
