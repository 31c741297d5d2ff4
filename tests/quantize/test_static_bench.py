"""Static INT8 on some layers of a small network of convolutions, calibrated once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from mlserve.graph.document import load_graph
from mlserve.graph.signature import read_signature
from mlserve.quantize.calibration import Calibration
from mlserve.quantize.layers import Kind
from mlserve.quantize.plan import plan_of
from mlserve.quantize.static_bench import StaticBench
from mlserve.rows.reading import open_rows
from tests import models


@pytest.fixture
def bench(clean_environment: Path) -> StaticBench:
    rng = np.random.default_rng(0)
    weights = {"k1": rng.normal(size=(8, 3, 3, 3)), "k2": rng.normal(size=(8, 8, 3, 3))}
    nodes = [
        helper.make_node("Conv", ["x", "k1"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["b", "k2"], ["y"], name="second"),
    ]
    graph = helper.make_graph(
        nodes,
        "convolutions",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 8, 4, 4])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    path = models.saved(model, Path("conv.onnx"))
    np.savez("rows.npz", x=rng.normal(size=(32, 3, 8, 8)).astype(np.float32))
    rows = open_rows(Path("rows.npz"), read_signature(load_graph(path)))
    folder = Path("workshop")
    folder.mkdir()
    return StaticBench(path, folder, "cpu", Calibration(rows))


@pytest.mark.parametrize("chosen", [(), ("first",), ("second",), ("first", "second")])
def test_only_the_named_layers_are_in_int8(bench: StaticBench, chosen: tuple[str, ...]) -> None:
    choice = {layer.name: Kind.INT8 if layer.name in chosen else Kind.FP32 for layer in bench.layers}

    plan = plan_of(bench.apply(choice))

    assert len(bench.layers) == 2
    assert {name for name, kind in plan.items() if kind == "int8"} == set(chosen)
    assert {name for name, kind in plan.items() if kind == "fp32"} == {"first", "second"} - set(chosen)
