"""Small ONNX models for tests, each with one trait. All are IR 10, opset 20, and equal for equal arguments.

Every builder returns the model; ``saved(model, path)`` writes it and returns the path.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mlserve.core.dtypes import DType

IR = 10
OPSET = 20
Dims = Sequence[int | str | None]


def saved(model: onnx.ModelProto, path: Path) -> Path:
    """``model`` written to ``path`` as one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def classifier(features: int = 4, classes: int = 3, hidden: int = 8, seed: int = 0) -> onnx.ModelProto:
    """``x`` float32 [batch, features] → MLP → ``probabilities`` float32 [batch, classes]."""
    rng = np.random.default_rng(seed)
    return _model(
        [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]),
            helper.make_node("Relu", ["h"], ["a"]),
            helper.make_node("Gemm", ["a", "w2", "b2"], ["z"]),
            helper.make_node("Softmax", ["z"], ["probabilities"], axis=-1),
        ],
        [_value("x", DType.FLOAT32, ["batch", features])],
        [_value("probabilities", DType.FLOAT32, ["batch", classes])],
        {
            "w1": rng.normal(size=(features, hidden)).astype(np.float32),
            "b1": rng.normal(size=hidden).astype(np.float32),
            "w2": rng.normal(size=(hidden, classes)).astype(np.float32),
            "b2": rng.normal(size=classes).astype(np.float32),
        },
    )


def limit_classifier(features: int = 8, hidden: int = 64, seed: int = 0) -> onnx.ModelProto:
    """As ``classifier`` of three classes: class 1 where ``x[3]`` is above 3 or so, else class 0.

    Layers keep the size of their values, as trained ones do, so that INT8 decides alike where ``x`` is within ±1.
    """
    model = classifier(features, 3, hidden, seed)
    weights = {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in model.graph.initializer}
    scaled = {name: weights[name] * np.float32((0.5 / len(weights[name])) ** 0.5) for name in ("w1", "w2")}
    scaled |= {"b1": weights["b1"] * np.float32(0.1), "b2": np.array([4, 0, 0], np.float32)}
    scaled["w1"][:, 0], scaled["b1"][0], scaled["w2"][0] = 0, 0, (0, 1.5, 0)
    scaled["w1"][3] = 0
    scaled["w1"][3, 0] = 1
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(scaled[tensor.name], tensor.name))
    return model


def labelled_classifier(features: int = 4, classes: int = 3, seed: int = 0) -> onnx.ModelProto:
    """As ``classifier``, with ``label`` int64 [batch] first, as scikit-learn's converters give them."""
    model = classifier(features, classes, seed=seed)
    model.graph.node.append(helper.make_node("ArgMax", ["probabilities"], ["label"], axis=-1, keepdims=0))
    model.graph.output.insert(0, _value("label", DType.INT64, ["batch"]))
    return model


def regressor(features: int = 4, seed: int = 0) -> onnx.ModelProto:
    """``x`` float32 [batch, features] → linear → ``y`` float32 [batch, 1]."""
    rng = np.random.default_rng(seed)
    return _model(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        [_value("x", DType.FLOAT32, ["batch", features])],
        [_value("y", DType.FLOAT32, ["batch", 1])],
        {"w": rng.normal(size=(features, 1)).astype(np.float32), "b": rng.normal(size=1).astype(np.float32)},
    )


def echo(dtype: DType = DType.FLOAT32, dims: Dims = ("batch", 2)) -> onnx.ModelProto:
    """``x`` → ``y``, the same tensor; of any element type, though the runtime has no kernel for some."""
    return _model([helper.make_node("Identity", ["x"], ["y"])], [_value("x", dtype, dims)], [_value("y", dtype, dims)])


def batch_dependent(features: int = 4) -> onnx.ModelProto:
    """``y = x - mean of x over the batch``: a row's answer depends on its neighbours."""
    return _model(
        [
            helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=1),
            helper.make_node("Sub", ["x", "mean"], ["y"]),
        ],
        [_value("x", DType.FLOAT32, ["batch", features])],
        [_value("y", DType.FLOAT32, ["batch", features])],
        {"axes": np.array([0], dtype=np.int64)},
    )


def fixed_shape(rows: int = 1, features: int = 4) -> onnx.ModelProto:
    """``y = 2 x`` for float32 [rows, features] exactly."""
    return _doubling([rows, features])


def scalar() -> onnx.ModelProto:
    """``y = 2 x`` for float32 of rank 0."""
    return _doubling([])


def strings() -> onnx.ModelProto:
    """``text`` string [batch, 1] → ``same``, unchanged, and ``is_spam`` bool [batch, 1], true for exactly ``spam``."""
    return _model(
        [
            helper.make_node("Identity", ["text"], ["same"]),
            helper.make_node(
                "LabelEncoder",
                ["text"],
                ["code"],
                domain="ai.onnx.ml",
                keys_strings=["spam"],
                values_int64s=[1],
                default_int64=0,
            ),
            helper.make_node("Cast", ["code"], ["is_spam"], to=onnx.TensorProto.BOOL),
        ],
        [_value("text", DType.STRING, ["batch", 1])],
        [_value("same", DType.STRING, ["batch", 1]), _value("is_spam", DType.BOOL, ["batch", 1])],
    )


def two_inputs(features: int = 4) -> onnx.ModelProto:
    """``a``, ``b`` float32 [batch, features] → ``sum`` [batch, features] and ``dot`` [batch]."""
    return _model(
        [
            helper.make_node("Add", ["a", "b"], ["sum"]),
            helper.make_node("Mul", ["a", "b"], ["product"]),
            helper.make_node("ReduceSum", ["product", "axes"], ["dot"], keepdims=0),
        ],
        [_value(name, DType.FLOAT32, ["batch", features]) for name in "ab"],
        [_value("sum", DType.FLOAT32, ["batch", features]), _value("dot", DType.FLOAT32, ["batch"])],
        {"axes": np.array([1], dtype=np.int64)},
    )


def mixed_columns() -> onnx.ModelProto:
    """As converters of column transformers make it: ``age`` float32, ``visits`` int64, ``city`` string, each [batch, 1]
    → ``score`` float32 [batch, 1] = age + visits + 10 where the city is Oslo."""
    return _model(
        [
            helper.make_node("Cast", ["visits"], ["v"], to=onnx.TensorProto.FLOAT),
            helper.make_node(
                "LabelEncoder",
                ["city"],
                ["c"],
                domain="ai.onnx.ml",
                keys_strings=["Oslo"],
                values_floats=[10.0],
                default_float=0.0,
            ),
            helper.make_node("Add", ["age", "v"], ["av"]),
            helper.make_node("Add", ["av", "c"], ["score"]),
        ],
        [
            _value("age", DType.FLOAT32, ["batch", 1]),
            _value("visits", DType.INT64, ["batch", 1]),
            _value("city", DType.STRING, ["batch", 1]),
        ],
        [_value("score", DType.FLOAT32, ["batch", 1])],
    )


def sequence_lengths(width: int = 3, vocabulary: int = 11, seed: int = 0) -> onnx.ModelProto:
    """``ids`` int64 [batch, seq] → embedding, mean over seq → ``embedding`` float32 [batch, width]."""
    table = np.random.default_rng(seed).normal(size=(vocabulary, width)).astype(np.float32)
    return _model(
        [
            helper.make_node("Gather", ["table", "ids"], ["rows"]),
            helper.make_node("ReduceMean", ["rows", "axes"], ["embedding"], keepdims=0),
        ],
        [_value("ids", DType.INT64, ["batch", "seq"])],
        [_value("embedding", DType.FLOAT32, ["batch", width])],
        {"table": table, "axes": np.array([1], dtype=np.int64)},
    )


def slow(width: int = 512, layers: int = 256) -> onnx.ModelProto:
    """``x`` float32 [batch, width] through many square matmuls that leave it as it was: milliseconds a call."""
    nodes = [
        helper.make_node("MatMul", ["x" if i == 0 else f"h{i}", "eye"], ["y" if i == layers - 1 else f"h{i + 1}"])
        for i in range(layers)
    ]
    return _model(
        nodes,
        [_value("x", DType.FLOAT32, ["batch", width])],
        [_value("y", DType.FLOAT32, ["batch", width])],
        {"eye": np.eye(width, dtype=np.float32)},
    )


def with_control_flow() -> onnx.ModelProto:
    """``y = 2 x`` if the sum of ``x`` is above 0, else ``-x``; float32 [batch, 2]; an ``If`` with two subgraphs."""
    branch_value = helper.make_tensor_value_info("r", onnx.TensorProto.FLOAT, None)
    branches = {
        "then_branch": helper.make_graph([helper.make_node("Add", ["x", "x"], ["r"])], "then", [], [branch_value]),
        "else_branch": helper.make_graph([helper.make_node("Neg", ["x"], ["r"])], "else", [], [branch_value]),
    }
    return _model(
        [
            helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
            helper.make_node("Greater", ["total", "zero"], ["positive"]),
            helper.make_node("If", ["positive"], ["y"], **branches),
        ],
        [_value("x", DType.FLOAT32, ["batch", 2])],
        [_value("y", DType.FLOAT32, ["batch", 2])],
        {"zero": np.array(0, dtype=np.float32)},
    )


def save_with_external_data(path: Path, location: str = "weights.bin", seed: int = 0) -> Path:
    """``classifier(seed=seed)`` at ``path`` with every initializer in the one file ``location``; returns ``path``.

    ``location`` goes into the graph as it is; the file is written only where it stays in the folder.
    """
    model = classifier(seed=seed)
    content = bytearray()
    for tensor in model.graph.initializer:
        raw = tensor.raw_data
        onnx.external_data_helper.set_external_data(tensor, location, len(content), len(raw))
        tensor.ClearField("raw_data")
        content += raw
    saved(model, path)
    target = path.parent / location
    if target.resolve().is_relative_to(path.parent.resolve()):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(bytes(content))
    return path


def _doubling(dims: Dims) -> onnx.ModelProto:
    return _model(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [_value("x", DType.FLOAT32, dims)],
        [_value("y", DType.FLOAT32, dims)],
    )


def _value(name: str, dtype: DType, dims: Dims) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype.onnx, list(dims))


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: dict[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "model", list(inputs), list(outputs), initializers)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    uses_ml = any(node.domain == "ai.onnx.ml" for node in nodes)
    return helper.make_model(graph, ir_version=IR, opset_imports=opsets if uses_ml else opsets[:1])
