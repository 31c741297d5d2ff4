"""The model that small-model serving is measured with: a scaler and an MLP, 30 → 64 → 32 → 2, and rows for it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FEATURES = 30
_WIDTHS = (FEATURES, 64, 32, 2)


def save_tabular(path: Path) -> Path:
    """Writes the model: ``x`` [batch, 30] FP32 → ``probabilities`` [batch, 2] FP32."""
    draw = np.random.default_rng(0)
    arrays = {"mean": draw.normal(size=FEATURES), "scale": draw.uniform(0.5, 2, FEATURES)}
    nodes = [helper.make_node("Sub", ["x", "mean"], ["centred"]), helper.make_node("Div", ["centred", "scale"], ["h0"])]
    for layer, (inner, outer) in enumerate(itertools.pairwise(_WIDTHS)):
        arrays[f"w{layer}"] = draw.normal(size=(inner, outer)) / np.sqrt(inner)
        arrays[f"b{layer}"] = draw.normal(size=outer)
        is_last = layer == len(_WIDTHS) - 2
        nodes.append(helper.make_node("Gemm", [f"h{layer}", f"w{layer}", f"b{layer}"], [f"g{layer}"]))
        step = "Softmax" if is_last else "Relu"
        nodes.append(helper.make_node(step, [f"g{layer}"], ["probabilities" if is_last else f"h{layer + 1}"]))
    graph = helper.make_graph(
        nodes,
        "tabular",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", FEATURES])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", _WIDTHS[-1]])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def rows(count: int) -> list[list[float]]:
    """``count`` rows as a client would send them, six digits each."""
    drawn = np.random.default_rng(1).normal(size=(count, FEATURES)).round(6)
    found: list[list[float]] = drawn.tolist()
    return found
