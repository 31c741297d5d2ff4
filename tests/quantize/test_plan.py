"""The precision of every layer, read from the graph that a method left."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from mlserve.graph.document import load_graph
from mlserve.graph.properties import get_properties
from mlserve.quantize.plan import plan_of
from mlserve.quantize.quantizing import quantize
from tests import models

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("method", "precisions"), [("fp16", {"fp16"}), ("int8-dynamic", {"int8-dynamic"}), ("int8", {"int8"})]
)
def test_the_file_holds_the_plan_of_its_layers(method: str, precisions: set[str]) -> None:
    models.saved(models.classifier(64, 3, hidden=128), Path("m.onnx"))
    np.savez("rows.npz", x=np.random.default_rng(1).normal(size=(100, 64)).astype(np.float32))

    report = quantize(Path("m.onnx"), Path("q.onnx"), method=method, calibrate=Path("rows.npz"), by="tester", now=NOW)

    plan = json.loads(get_properties(load_graph(Path("q.onnx")))["mlserve.quantize.plan"])
    assert len(plan) == 2
    assert set(plan.values()) == precisions
    assert report.layers == {precision: 2 for precision in precisions}


def test_an_embedding_table_in_int8_is_weights_only() -> None:
    models.saved(models.sequence_lengths(width=64, vocabulary=500), Path("m.onnx"))
    np.savez("rows.npz", ids=np.random.default_rng(1).integers(0, 500, (40, 6)))

    quantize(Path("m.onnx"), Path("q.onnx"), method="int8-dynamic", evaluate=Path("rows.npz"), metric="cosine",
             by="tester", now=NOW)  # fmt: skip

    assert list(plan_of(load_graph(Path("q.onnx"))).values()) == ["int8-weights"]


def test_what_was_never_quantized_is_fp32() -> None:
    assert set(plan_of(models.classifier()).values()) == {"fp32"}
