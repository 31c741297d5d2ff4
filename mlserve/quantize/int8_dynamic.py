"""Dynamic INT8: matrices and embedding tables as INT8 per channel, activations quantized as they come."""

from __future__ import annotations

from pathlib import Path

from mlserve.quantize.applying import apply_everywhere
from mlserve.quantize.census import Census
from mlserve.quantize.layers import OPERATORS, Kind
from mlserve.quantize.quantizer import Quantized
from mlserve.quantize.targets import Target, unsuited

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
        """Per channel, which costs nothing and keeps most of the accuracy.

        Never Conv: ConvInteger is several times slower than FP32 on a CPU (onnxruntime#12854).
        """
        model = apply_everywhere(Kind.INT8_DYNAMIC, source, folder, target)
        options = {"weight_type": "QInt8", "per_channel": True, "op_types": list(OPERATORS)}
        return Quantized(model, options, (ROWS_ARE_BOUND,))
