"""Schedules of open loops."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from mlserve.bench.arrivals import Arrivals, arrivals


@pytest.mark.parametrize("kind", get_args(Arrivals))
def test_a_schedule_ascends_within_the_duration_at_the_rate_asked_for(kind: Arrivals) -> None:
    due = arrivals(kind, 200, 100.0, np.random.default_rng(0))

    assert len(due) == pytest.approx(20_000, rel=0.1)
    assert (np.diff(due) >= 0).all()
    assert 0 <= due[0] <= due[-1] < 100.0


@pytest.mark.parametrize("kind", get_args(Arrivals))
def test_a_schedule_is_the_same_for_the_same_seed(kind: Arrivals) -> None:
    one, other = (arrivals(kind, 50, 2.0, np.random.default_rng(3)) for _ in range(2))

    assert one.tolist() == other.tolist()


def test_independent_clients_are_as_uneven_as_poisson_and_bursts_are_more_so() -> None:
    def dispersion(kind: Arrivals) -> float:
        counts, _ = np.histogram(arrivals(kind, 1000, 200.0, np.random.default_rng(0)), bins=4000)
        return float(counts.var() / counts.mean())

    assert dispersion("uniform") < 0.1
    assert dispersion("poisson") == pytest.approx(1, rel=0.1)
    assert dispersion("bursty") > 5


def test_a_slow_schedule_may_be_empty() -> None:
    assert len(arrivals("poisson", 1e-9, 1.0, np.random.default_rng(0))) == 0
