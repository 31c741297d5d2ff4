"""Half precision: every FP32 weight and value as FP16, inputs and outputs left as they are."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx

from mlserve.errors import Unsupported
from mlserve.graph.document import load_graph
from mlserve.quantize.census import Census
from mlserve.quantize.ordering import sort_nodes
from mlserve.quantize.quantizer import Quantized, Target

MAX_FINITE = 65504.0
"""The largest finite FP16 number; weights beyond it are cut to it."""


class Fp16:
    """Half the size on any device, and faster where the device computes in FP16."""

    def objections(self, census: Census, target: Target) -> list[str]:
        if census.float_bytes:
            return []
        return [f"the graph has no FP32 weights to halve{_trees(census)}"]

    def quantize(self, source: Path, folder: Path, target: Target) -> Quantized:
        """Through ONNX Runtime's converter; onnxconverter-common's gives invalid graphs for many models (its #320)."""
        from onnxruntime.transformers.float16 import convert_float_to_float16

        options = {"keep_io_types": True, "max_finite_val": MAX_FINITE}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                model = convert_float_to_float16(_with_types(load_graph(source)), **options)
            except (ValueError, RuntimeError, KeyError, TypeError) as error:
                raise Unsupported(f"ONNX Runtime cannot convert '{source}' to FP16: {error}") from error
        sort_nodes(model.graph)
        cut = [item for item in caught if "truncated" in str(item.message) and str(MAX_FINITE) in str(item.message)]
        notes = [f"{len(cut)} weights were beyond ±{MAX_FINITE:g} and were cut"] if cut else []
        if target == "cpu":
            notes.append(
                "FP16 halves the file; a CPU computes it in FP32, no faster, and shows no overflow that a GPU would"
            )
        return Quantized(model, options, tuple(notes))


def _with_types(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with encoders' output types declared: where ONNX infers none the converter mixes FP32 and FP16."""
    known = {value.name for value in (*model.graph.value_info, *model.graph.output)}
    for node in model.graph.node:
        if node.domain == "ai.onnx.ml" and node.op_type in _FLOAT_ENCODERS:
            for name in set(node.output) - known:
                model.graph.value_info.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return model


_FLOAT_ENCODERS = frozenset({"OneHotEncoder", "Scaler", "Normalizer", "FeatureVectorizer"})


def _trees(census: Census) -> str:
    return ": its weights are attributes of ai.onnx.ml operators" if census.ml_nodes else ""
