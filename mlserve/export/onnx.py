"""ONNX itself: passed through, made loadable and reproducible, and compared with what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnx.version_converter

from mlserve.errors import InvalidInput, NotFound, UsageError
from mlserve.export.exporter import Arrays, Conversion, Request
from mlserve.graph.document import MAX_OPSET, load_graph
from mlserve.graph.signature import read_signature
from mlserve.runtime.model import load_model
from mlserve.runtime.samples import synthetic_inputs

MADE_UP_ROWS = 8
_TOOLS = ("onnx", "onnxruntime", "onnxruntime-gpu")


class OnnxExporter:
    """A finished graph. What the runtime is too old for is converted down; the rest stays as it is."""

    suffixes: ClassVar[tuple[str, ...]] = (".onnx",)
    packages: ClassVar[tuple[str, ...]] = ()

    def convert(self, request: Request) -> Conversion:
        """The graph, at an operator set that the runtime loads; compared with the file itself where that loads.

        Raises NotFound, InvalidInput for a file that is not ONNX or cannot be brought to an older operator set.
        """
        if request.dynamic is not None:
            raise UsageError("the axes of an ONNX model are what they are", hint="leave out --dynamic")
        path = Path(request.source)
        model = load_graph(path)
        model, notes = _lowered(model)
        return Conversion(
            model, _runner(path), _TOOLS, example=synthetic_inputs(read_signature(model), MADE_UP_ROWS, 0), notes=notes
        )


def _lowered(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    version = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if version <= MAX_OPSET:
        return model, ()
    try:
        lowered: onnx.ModelProto = onnx.version_converter.convert_version(model, MAX_OPSET)
    except (RuntimeError, ValueError) as error:
        raise InvalidInput(
            f"the model has opset {version} and cannot be brought down to {MAX_OPSET}: {error}",
            hint="export it again with an older opset",
        ) from error
    return lowered, (f"converted from opset {version} to {MAX_OPSET}",)


def _runner(path: Path) -> Any:
    """The file as it was given, run; None where this runtime cannot load it, and there is nothing to compare with."""
    try:
        session = load_model(path, device="cpu")
    except NotFound:
        raise
    except InvalidInput:
        return None

    def predict(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        return session.run(inputs)

    return predict
