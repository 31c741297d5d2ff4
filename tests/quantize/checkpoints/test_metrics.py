"""Metrics from sums over windows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlserve.quantize.checkpoints.metrics import measure
from mlserve.quantize.checkpoints.scores import Scores
from mlserve.quantize.checkpoints.scoring import score
from mlserve.quantize.checkpoints.windows import Window


def scores(*rows: tuple[float, float, float, float, float]) -> Scores:
    return Scores(np.array(rows, float))


def test_metrics_are_means_over_tokens_not_over_windows() -> None:
    found = measure(scores((3.0, 6.0, 0.5, 3, 3), (1.0, 1.0, 0.0, 1, 1)), seed=0)

    assert found["perplexity"].before == pytest.approx(math.e)
    assert found["perplexity"].drop == pytest.approx(math.exp(7 / 4) - math.e)
    assert found["kl"].after == found["kl"].drop == pytest.approx(0.125)
    assert found["agreement"].after == 1.0
    assert found["agreement"].rows == 4


def test_one_window_has_no_interval_but_itself() -> None:
    metric = measure(scores((2.0, 3.0, 0.1, 5, 10)), seed=0)["agreement"]

    assert metric.interval == (metric.drop, metric.drop) == (0.5, 0.5)


def test_windows_that_differ_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    agreed = rng.integers(0, 11, 50)
    found = measure(scores(*((1.0, 1.0, 0.0, float(one), 10.0) for one in agreed)), seed=0)["agreement"]

    assert found.interval[0] < found.drop < found.interval[1]


def test_a_nan_is_told() -> None:
    assert not scores((1.0, float("nan"), 0.0, 1, 2)).is_finite
    assert scores((float("nan"), float("nan"), 0.0, 1, 2)).is_finite


def test_large_vocabularies_are_compared_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from mlserve.quantize.checkpoints import scoring

    class Model:
        device = "cpu"

        def __init__(self, seed: int) -> None:
            self._table = torch.randn(32, 32, generator=torch.Generator().manual_seed(seed))

        def __call__(self, input_ids: torch.Tensor) -> object:
            return type("Out", (), {"logits": self._table[input_ids]})

    window = Window(tuple(range(20)), 3)
    whole = score(Model(0), Model(1), [window], lambda _: None)
    monkeypatch.setattr(scoring, "MAX_VALUES", 100)

    pieces = score(Model(0), Model(1), [window], lambda _: None)

    np.testing.assert_allclose(pieces.sums, whole.sums, rtol=1e-6)
    assert pieces.tokens == 17
