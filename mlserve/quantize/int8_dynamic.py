"""Dynamic INT8: matrices and embedding tables as INT8 per channel, activations quantized as they come."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from mlserve.errors import MlserveError, Unsupported
from mlserve.graph.document import MAX_ONE_FILE_BYTES, load_graph, save_graph
from mlserve.quantize.census import Census
from mlserve.quantize.quantizer import Quantized, Target
from mlserve.runtime.extensions import DOMAIN

# Never Conv: ConvInteger is several times slower than FP32 on a CPU (onnxruntime#12854).
OPERATORS = ("MatMul", "Gemm", "Gather")

ROWS_ARE_BOUND = (
    "activations are scaled by the largest in the batch, so a row's answer depends a little on its neighbours"
)


class Int8Dynamic:
    """A quarter of the size and about twice the speed for transformers on a CPU; needs no calibration."""

    def objections(self, census: Census, target: Target) -> list[str]:
        reasons = []
        if target != "cpu":
            reasons.append(
                f"dynamic INT8 is slower on {target}: ONNX Runtime has no CUDA kernel for DynamicQuantizeLinear, "
                "so every such layer goes through the CPU; --to fp16 suits a GPU"
            )
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
        with _tools_errors(source), _quiet():
            is_large = _prepare(source, prepared, folder)
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


def _prepare(source: Path, prepared: Path, folder: Path, *, max_one_file_bytes: int = MAX_ONE_FILE_BYTES) -> bool:
    """Write ``source`` with its constants folded; whether its weights are in a file of their own.

    Models that large are taken as they are: the tool loses the weights of a graph that names them elsewhere.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model, copy = load_graph(source), folder / "source.onnx"
    # torch declares shapes of weights too, which no longer hold once the tool transposes those of Gemm.
    del model.graph.value_info[:]
    save_graph(model, copy, max_one_file_bytes=max_one_file_bytes)
    if copy.with_name(f"{copy.name}.data").exists():
        save_graph(model, prepared, max_one_file_bytes=max_one_file_bytes)
        return True
    # Symbolic shape inference gives up on many graphs ("Incomplete symbolic shape inference"), and is not needed. The
    # tool's session does not load operators of onnxruntime-extensions.
    is_foreign = any(opset.domain == DOMAIN for opset in model.opset_import)
    quant_pre_process(str(copy), str(prepared), skip_symbolic_shape=True, skip_optimization=is_foreign)
    return False


@contextlib.contextmanager
def _tools_errors(source: Path) -> Iterator[None]:
    try:
        yield
    except MlserveError:
        raise
    except Exception as error:  # its parts raise anything, ONNX Runtime's own errors included
        fact = " ".join(str(error).split())[:300]
        raise Unsupported(f"ONNX Runtime cannot quantize '{source}': {fact}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The tools advise on the root logger and print; what goes wrong they raise, or the graph shows it when checked."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
