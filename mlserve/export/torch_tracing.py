"""``torch.onnx.export(dynamo=True)``, and the sentence that matters out of what it says when it fails."""

from __future__ import annotations

import re
from typing import Any

import onnx
import torch

from mlserve.errors import InvalidInput
from mlserve.export.quieting import converter_output

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def trace(source: Any, opset: int, **call: Any) -> onnx.ModelProto:
    """The graph of a module called with ``call``, or of an exported program.

    Raises InvalidInput for what torch cannot trace, in one sentence, with advice where the cause is known.
    """
    try:
        with converter_output("torch", "torch.onnx", "onnxscript", "onnx_ir"):
            program = torch.onnx.export(
                source, dynamo=True, external_data=False, verbose=False, opset_version=opset, **call
            )
    except torch.onnx.OnnxExporterError as error:
        raise InvalidInput(f"torch cannot export this module: {_summary(error)}", hint=_advice(error)) from error
    if program is None:  # only where torch writes a file itself
        raise AssertionError("torch gave no program")
    model: onnx.ModelProto = program.model_proto
    return model


def _summary(error: Exception) -> str:
    """The sentence that matters out of torch's page of advice."""
    text = _COLOUR.sub("", str(error))
    _, _, tail = text.partition("## Exception summary")
    lines = [line.strip() for line in (tail or text).split("\n") if line.strip()]
    return " ".join(lines[:2])[:600]


def _advice(error: Exception) -> str | None:
    text = str(error)
    if "inferred a static shape" in text or "Constraints violated" in text:
        return "the module fixes that axis; leave it out of --dynamic, or --dynamic none for a model of one shape"
    if "data-dependent" in text or "GuardOnDataDependent" in text:
        return "the module branches on values; use torch.where or torch.cond in its forward"
    return None
