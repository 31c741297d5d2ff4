"""A checkpoint as a graph through optimum-onnx, its axes called by what they are.

optimum knows, for each architecture, which inputs there are, and patches what cannot be traced (masks, caches); release
0.1.0 knows it for torch's older exporter only, which ends at operator set 20.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
from optimum.exporters.onnx.convert import export_pytorch
from optimum.exporters.tasks import TasksManager

from mlserve.errors import InvalidInput, Unsupported, UsageError
from mlserve.export.naming import BATCH
from mlserve.export.quieting import converter_output
from mlserve.export.transformers_loading import LOGGERS, Checkpoint
from mlserve.graph.document import load_graph

LEAST_OPSET, MOST_OPSET = 18, 20
SEQUENCE, PAST, TOTAL = "sequence", "past_sequence", "total_sequence"

AXES = {
    "batch_size": BATCH,
    "sequence_length": SEQUENCE,
    "past_sequence_length": PAST,
    "past_sequence_length + sequence_length": TOTAL,
}
"""optimum's names of axes, and ours."""


def to_graph(checkpoint: Checkpoint, opset: int) -> onnx.ModelProto:
    """The graph of ``checkpoint``'s model, every batch and sequence axis dynamic.

    Raises UsageError for an operator set that the exporter does not write, Unsupported for an architecture that it does
    not know, InvalidInput for a model that cannot be traced.
    """
    if not LEAST_OPSET <= opset <= MOST_OPSET:
        raise UsageError(
            f"transformers are exported at operator sets {LEAST_OPSET} to {MOST_OPSET}, and not {opset}",
            hint=f"--opset {MOST_OPSET}",
        )
    with tempfile.TemporaryDirectory(prefix="mlserve-") as folder, converter_output(*LOGGERS):
        path = Path(folder) / "model.onnx"
        config = _config(checkpoint)
        try:
            export_pytorch(checkpoint.model, config, opset, path)
        except Exception as error:  # the tracer runs the model's own code, and raises whatever that does
            fact = str(error).strip().split("\n")[0][:300]
            raise InvalidInput(f"'{checkpoint.folder}' cannot be traced: {type(error).__name__}: {fact}") from error
        model = load_graph(path)
    _name_axes(model)
    return model


def _config(checkpoint: Checkpoint) -> object:
    task = checkpoint.task
    past = {"use_past": True, "use_past_in_inputs": True} if task.has_past else {}
    if task.has_past:
        checkpoint.config.use_cache = True
    try:
        constructor = TasksManager.get_exporter_config_constructor(
            "onnx", model=checkpoint.model, task=task.name, library_name="transformers"
        )
        return constructor(checkpoint.config, int_dtype="int64", float_dtype="fp32", **past)
    except (KeyError, ValueError, NotImplementedError) as error:
        raise Unsupported(
            f"optimum-onnx exports no {task.name} of '{checkpoint.config.model_type}'",
            hint="name a function that builds the module as module:attr, with --framework torch",
        ) from error


def _name_axes(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = AXES.get(dim.dim_param, dim.dim_param)
