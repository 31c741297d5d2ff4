"""Dynamic INT8: matrices and embedding tables as INT8 per channel, activations quantized as they come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from mlserve.graph.document import load_graph
from mlserve.quantize.census import Census
from mlserve.quantize.preparing import prepare, quiet, tools_errors
from mlserve.quantize.quantizer import Quantized
from mlserve.quantize.targets import Target, unsuited

# Never Conv: ConvInteger is several times slower than FP32 on a CPU (onnxruntime#12854).
OPERATORS = ("MatMul", "Gemm", "Gather")

ROWS_ARE_BOUND = (
    "activations are scaled by the largest in the batch, so a row's answer depends a little on its neighbours"
)


class Int8Dynamic:
    """A quarter of the size and about twice the speed for transformers on a CPU; needs no calibration."""

    def objections(self, census: Census, target: Target) -> list[str]:
        reasons = unsuited("int8-dynamic", target)
        if not census.matrix_bytes + census.table_bytes:
            what = "only convolutions, which are slower in dynamic INT8" if census.conv_bytes else "none"
            trees = "; its weights are attributes of ai.onnx.ml operators" if census.ml_nodes else ""
            reasons.append(
                f"of the weights that dynamic INT8 makes smaller (MatMul, Gemm, Gather) it has {what}{trees}"
            )
        return reasons

    def quantize(self, source: Path, folder: Path, target: Target) -> Quantized:
        """Through ``onnxruntime.quantization``; per channel, which costs nothing and keeps most of the accuracy."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        options: dict[str, Any] = {"weight_type": "QInt8", "per_channel": True, "op_types": list(OPERATORS)}
        prepared, quantized = folder / "prepared.onnx", folder / "quantized.onnx"
        with tools_errors(source), quiet():
            is_large = prepare(source, prepared, folder)
            quantize_dynamic(
                prepared,
                quantized,
                weight_type=QuantType.QInt8,
                per_channel=True,
                op_types_to_quantize=list(OPERATORS),
                use_external_data_format=is_large,
                # The second lets it pass over operators of ai.onnx.ml, whose types it cannot infer.
                extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
            )
        return Quantized(load_graph(quantized), options, (ROWS_ARE_BOUND,))
