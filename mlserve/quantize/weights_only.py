"""Weight-only quantization: matrices and tables in blocks of 8 or 4 bits, what flows between them left in FP32."""

from __future__ import annotations

from pathlib import Path

from mlserve.quantize.applying import BLOCK, apply_everywhere
from mlserve.quantize.census import Census
from mlserve.quantize.layers import Kind
from mlserve.quantize.quantizer import Quantized
from mlserve.quantize.targets import Target, unsuited


class WeightsOnly:
    """Closer to the original than dynamic INT8 at nearly its size; faster than FP32 where memory is what is short."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def objections(self, census: Census, target: Target) -> list[str]:
        reasons = unsuited(self._kind, target)
        if not census.matrix_bytes + census.table_bytes:
            what = "only convolutions" if census.conv_bytes else "none"
            trees = "; its weights are attributes of ai.onnx.ml operators" if census.ml_nodes else ""
            reasons.append(f"of the weights that are stored in blocks (MatMul, Gemm, Gather) it has {what}{trees}")
        return reasons

    def quantize(self, source: Path, folder: Path, target: Target) -> Quantized:
        """``MatMulNBits`` and ``GatherBlockQuantized``, whose codes are plain bytes: any opset takes them."""
        model = apply_everywhere(self._kind, source, folder, target)
        return Quantized(model, {"weights": str(self._kind), "block_size": BLOCK})


class Int8Weights(WeightsOnly):
    """Weights as 8-bit blocks."""

    def __init__(self) -> None:
        super().__init__(Kind.W8)


class Int4Weights(WeightsOnly):
    """Weights as 4-bit blocks: the smallest file, and the largest error."""

    def __init__(self) -> None:
        super().__init__(Kind.W4)
