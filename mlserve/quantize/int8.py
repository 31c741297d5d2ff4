"""Static INT8: weights per channel and activations by ranges seen on calibration data, as pairs of Q and DQ."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from mlserve.errors import InvalidInput, Unsupported, UsageError
from mlserve.graph.document import load_graph, save_graph
from mlserve.quantize.calibration import Calibration
from mlserve.quantize.census import Census, take_census
from mlserve.quantize.histogram import ActivationHistogram
from mlserve.quantize.observing import observe
from mlserve.quantize.preparing import prepare, quiet, tools_errors
from mlserve.quantize.quantizer import Calibrated, Quantized
from mlserve.quantize.ranges import range_of
from mlserve.quantize.targets import Target, unsuited
from mlserve.runtime.processor import read_processor

Ranges = Mapping[str, tuple[float, float]]

WEIGHTED = ("Conv", "MatMul", "Gemm")
"""Nothing else has a kernel that gains; with every operator in INT8 a transformer's answers are noise."""

FOLLOWING = ("Relu", "Clip", "MaxPool")
"""After one of ``WEIGHTED`` these lose nothing in INT8, and between two of them keep the values in it."""

NO_VNNI = (
    "this CPU has no instruction for INT8 (VNNI): speed and accuracy are measured here, and are better where it has"
)

# TensorRT wants symmetric pairs, one for each reader, biases in FP32, and folds activations itself.
# Source: ONNX Runtime's TensorRT examples of quantization.
_TENSORRT: dict[str, Any] = {
    "ActivationSymmetric": True,
    "DedicatedQDQPair": True,
    "OpTypesToExcludeOutputQuantization": list(WEIGHTED),
    "QuantizeBias": False,
}


class Int8:
    """A quarter of the size, and two to three times the speed for convolutions on a CPU with VNNI."""

    def __init__(self, calibration: Calibration | None = None) -> None:
        self._calibration = calibration

    def calibrated_on(self, calibration: Calibration) -> Int8:
        return Int8(calibration)

    def objections(self, census: Census, target: Target) -> list[str]:
        reasons = unsuited("int8", target)
        if not census.matrix_bytes + census.conv_bytes:
            trees = "; its weights are attributes of ai.onnx.ml operators" if census.ml_nodes else ""
            reasons.append(f"of the weights that static INT8 makes smaller (Conv, MatMul, Gemm) it has none{trees}")
        return reasons

    def quantize(self, source: Path, folder: Path, target: Target) -> Quantized:
        """Through ``onnxruntime.quantization``, with ranges that were taken here: its calibrators hold every value.

        Raises UsageError without calibration data, InvalidInput where that has no rows or the model refuses them.
        """
        calibration = self._calibration
        if calibration is None:
            raise UsageError(
                "static INT8 needs data to calibrate on", hint="--calibrate DATA with some hundred training rows"
            )
        prepared = folder / "prepared.onnx"
        with tools_errors(source), quiet():
            is_large = prepare(source, prepared, folder)
        chosen, tensors = choose(prepared, target)
        if not chosen:
            raise Unsupported(
                f"static INT8 finds nothing to do in '{source}': no Conv, MatMul or Gemm of the main graph has "
                "a matrix of FP32 weights on its right",
                hint="--to fp16",
            )
        calibrated = calibrate(prepared, tensors, calibration)
        options = {
            "activation_type": "QUInt8" if target == "cpu" else "QInt8",
            "weight_type": "QInt8",
            "per_channel": True,
            "calibration": calibration.rule,
            "calibration_rows": calibration.max_rows,
            **({} if target == "cpu" else _TENSORRT),
        }
        with tools_errors(source), quiet():
            model = quantized_graph(prepared, folder, chosen, calibrated.ranges, target, is_large=is_large)
        return Quantized(model, options, tuple(_notes(source, target)), calibrated)


def _notes(source: Path, target: Target) -> Iterator[str]:
    if target == "cpu" and read_processor().has_vnni is False:
        yield NO_VNNI
    census = take_census(load_graph(source, weights=False))
    if census.table_bytes > census.float_bytes / 4:
        share = census.table_bytes / census.float_bytes
        yield f"embedding tables, {share:.0%} of the weights, stay FP32; --to int8-dynamic makes them smaller too"


def choose(prepared: Path, target: Target, *, left_out: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """The names of the nodes to quantize, and of the values between them; every node has a name afterwards.

    Nodes with a weight that are ``left_out`` stay, as does what only follows them.
    """
    model = load_graph(prepared)
    constants = {tensor.name for tensor in model.graph.initializer}
    weights = {t.name: len(t.dims) for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    chosen: list[str] = []
    tensors: dict[str, None] = {}
    made_in_int8: set[str] = set()
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
        follows = target == "cpu" and node.op_type in FOLLOWING and node.input[0] in made_in_int8
        if follows or (is_weighted(node, weights) and node.name not in left_out):
            chosen.append(node.name)
            made_in_int8.add(node.output[0])
            tensors |= dict.fromkeys(name for name in (node.input[0], node.output[0]) if name not in constants)
    save_graph(model, prepared)
    return chosen, list(tensors)


def is_weighted(node: onnx.NodeProto, weights: Mapping[str, int]) -> bool:
    """Whether ``node`` multiplies by a weight; per channel a MatMul's must be a matrix."""
    if node.op_type not in WEIGHTED or node.domain or len(node.input) < 2 or node.input[1] not in weights:
        return False
    return node.op_type != "MatMul" or weights[node.input[1]] == 2


def calibrate(prepared: Path, tensors: Sequence[str], calibration: Calibration) -> Calibrated:
    """What each of ``tensors`` ranges over on the calibration data, by its rule. Raises InvalidInput for no rows."""
    seen = {name: ActivationHistogram() for name in tensors}
    batches = 0
    for batches, values in enumerate(observe(prepared, tensors, calibration.batches), start=1):  # noqa: B007
        for name, array in values.items():
            if calibration.rule == "minmax":
                seen[name].widen(array)
            else:
                seen[name].add(array)
    if not batches:
        raise InvalidInput(f"the calibration data '{calibration.rows.path}' has no rows")
    ranges = {name: range_of(histogram, calibration.rule) for name, histogram in seen.items()}
    return Calibrated(prepared, ranges, {name: seen[name].share_outside(*ends) for name, ends in ranges.items()})


def quantized_graph(
    prepared: Path, folder: Path, nodes: Sequence[str], ranges: Ranges, target: Target, *, is_large: bool
) -> onnx.ModelProto:
    """The graph at ``prepared`` with ``nodes`` in INT8 between pairs of Q and DQ, ``ranges`` being theirs."""
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        TensorData,
        TensorsData,
        quantize_static,
        save_tensors_data,
    )

    is_symmetric = target != "cpu"
    cache, quantized = folder / "ranges.json", folder / "quantized.onnx"
    known = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, known), cache)
    quantize_static(
        prepared,
        quantized,
        None,
        calibration_cache_path=cache,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=[*WEIGHTED, *FOLLOWING],
        per_channel=True,
        activation_type=QuantType.QInt8 if is_symmetric else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_quantize=list(nodes),
        use_external_data_format=is_large,
        extra_options=_TENSORRT if is_symmetric else {},
    )
    return load_graph(quantized)
