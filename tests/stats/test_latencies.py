"""Percentiles in bounded memory."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.stats.latencies import Latencies

PRECISION = 0.011
"""Buckets grow by one per cent, and a percentile is told from the middle of its bucket."""


@given(st.lists(st.floats(1e-6, 100), min_size=1, max_size=300), st.floats(0.01, 1))
def test_a_percentile_is_that_of_the_sorted_latencies(seconds: list[float], share: float) -> None:
    seen = Latencies()
    for value in seconds:
        seen.add(value)

    (found,) = seen.percentiles_s([share])

    exact = sorted(seconds)[max(1, math.ceil(share * len(seconds) - 1e-9)) - 1]
    assert found == pytest.approx(exact, rel=PRECISION)


def test_no_latency_has_no_percentile() -> None:
    assert all(math.isnan(found) for found in Latencies().percentiles_s([0.5, 0.99]))


def test_folding_changes_nothing_but_the_memory() -> None:
    seconds = np.random.default_rng(0).lognormal(-7, 1, 200_000)
    folded, whole = Latencies(), Latencies()
    for value in seconds.tolist():
        folded.add(value)
        folded.fold()
        whole.add(value)

    assert folded.percentiles_s([0.5, 0.999]) == whole.percentiles_s([0.5, 0.999])
    assert folded.count == 200_000


def test_what_stays_within_a_limit_is_counted() -> None:
    seen = Latencies()
    for value in (0.001, 0.002, 0.02, 2e5, 0.0):
        seen.add(value)

    assert seen.within(0.01) == 3
