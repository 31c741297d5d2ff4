"""Around ``onnxruntime.quantization``: what its tools want done to a graph first, and how they are kept in hand."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path

from mlserve.errors import MlserveError, Unsupported
from mlserve.graph.document import MAX_ONE_FILE_BYTES, load_graph, save_graph
from mlserve.runtime.extensions import DOMAIN


def prepare(source: Path, prepared: Path, folder: Path, *, max_one_file_bytes: int = MAX_ONE_FILE_BYTES) -> bool:
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
def tools_errors(source: Path) -> Iterator[None]:
    """Whatever the tools raise becomes Unsupported, naming ``source``."""
    try:
        yield
    except MlserveError:
        raise
    except Exception as error:  # its parts raise anything, ONNX Runtime's own errors included
        fact = " ".join(str(error).split())[:300]
        raise Unsupported(f"ONNX Runtime cannot quantize '{source}': {fact}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The tools advise on the root logger and print; what goes wrong they raise, or the graph shows it when checked."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
