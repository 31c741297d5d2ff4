"""Values inside a graph, as it runs, without keeping them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mlserve.errors import InvalidInput
from mlserve.quantize import observing
from mlserve.quantize.observing import observe
from mlserve.rows.reading import RowBatch
from tests import models

ROWS = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)


@pytest.fixture
def graph() -> Path:
    return models.saved(models.classifier(4, 3, hidden=8), Path("model.onnx"))


class Source:
    """Rows in batches of the size asked for, and how many batches were read."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def __call__(self, rows: int) -> Iterator[RowBatch]:
        for start in range(0, len(ROWS), rows):
            batch = RowBatch(start, {"x": ROWS[start : start + rows]}, {})
            self.read.append(batch.rows)
            yield batch


def test_values_of_inputs_outputs_and_between_are_those_of_the_model(graph: Path) -> None:
    seen = list(observe(graph, ["x", "h", "a", "probabilities"], Source()))

    whole = {name: np.concatenate([values[name] for values in seen]) for name in seen[0]}
    assert np.array_equal(whole["x"], ROWS)
    assert np.array_equal(whole["a"], np.maximum(whole["h"], 0))
    assert whole["probabilities"].sum(axis=1) == pytest.approx(np.ones(100), abs=1e-5)


def test_a_batch_is_read_when_the_one_before_has_been_looked_at(graph: Path) -> None:
    source = Source()

    values = observe(graph, ["h"], source)
    next(values)
    next(values)

    assert source.read == [1, 64, 36]  # one row first, which says how much a row is


def test_rows_of_many_values_come_one_at_a_time(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observing, "MAX_VALUE_BYTES", 40)

    assert {len(values["h"]) for values in observe(graph, ["h"], Source())} == {1}


def test_rows_that_the_model_refuses_are_invalid(graph: Path) -> None:
    with pytest.raises(InvalidInput, match="refused the inputs"):
        next(observe(graph, ["h"], lambda rows: iter([RowBatch(0, {"x": ROWS[:, :3]}, {})])))
