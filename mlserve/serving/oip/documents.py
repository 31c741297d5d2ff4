"""The protocol's other documents: server and model metadata, the lists of models, and errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson

from mlserve import __version__
from mlserve.core.dtypes import DType
from mlserve.core.tensors import TensorSpec
from mlserve.errors import MlserveError
from mlserve.serving.seam import ModelState, ModelStatus, ModelView
from mlserve.serving.tallies import ModelStatistics, Tally

NAME = "mlserve"

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "parameters",
    "schedule_policy",
    "model_repository",
    "model_repository(unload_dependents)",
    "model_configuration",
    "statistics",
)
"""What is served beyond the protocol itself, in Triton's words."""


_IN_A_FOLDER = re.compile(r"'/(?:[^'/]+/)*(?=[^'/]+')")

_COMPUTED = ("compute_input", "compute_infer", "compute_output")


def server_metadata() -> bytes:
    """Who answers, and what beyond the protocol it offers."""
    return orjson.dumps({"name": NAME, "version": __version__, "extensions": EXTENSIONS})


def model_metadata(view: ModelView) -> bytes:
    """What a version takes and gives."""
    return orjson.dumps(
        {
            "name": view.name,
            "versions": view.versions,
            "platform": view.platform,
            "inputs": [_tensor(spec) for spec in view.signature.inputs],
            "outputs": [_tensor(spec) for spec in view.signature.outputs],
            "properties": properties_of(view),
        }
    )


def properties_of(view: ModelView) -> dict[str, str]:
    """What else is known of a version; texts, as the gRPC form of the protocol wants them."""
    properties = {
        "version": view.version,
        "stages": ",".join(view.stages),
        "digest": view.digest or "",
        "batchable": str(view.is_batchable).lower(),
        "exactness": view.exactness,
        "padding": view.padding,
        "lone_session": view.lone_session,
        "cuda_graphs": view.cuda_graphs,
        "tuned": view.tuned,
        "providers": ",".join(view.providers),
    }
    return {name: value for name, value in properties.items() if value}


def model_config(view: ModelView) -> dict[str, Any]:
    """The version's configuration as Triton describes a model, for the clients that plan their load by it.

    ``dims`` leave the batch axis out where ``max_batch_size`` is not 0. Source: Triton's model configuration extension.
    """
    skipped = 1 if view.is_batchable else 0
    return {
        "name": view.name,
        "platform": view.platform,
        "backend": "onnxruntime",
        "version_policy": {"specific": {"versions": [int(version) for version in view.versions]}},
        "max_batch_size": view.max_rows if view.is_batchable else 0,
        "input": [_configured(spec, skipped) for spec in view.signature.inputs],
        "output": [_configured(spec, skipped) for spec in view.signature.outputs],
        "instance_group": [{"name": view.name, "kind": _kind(view), "count": 1}],
        **({"dynamic_batching": {}} if view.is_batchable else {}),
    }


def statistics(models: Sequence[ModelStatistics]) -> dict[str, Any]:
    """What versions have done, in the fields of Triton's statistics extension."""
    return {"model_stats": [_counted(one) for one in models]}


def model_names(models: Sequence[ModelStatus]) -> bytes:
    """The names of all models, once each."""
    return orjson.dumps({"models": list(dict.fromkeys(status.name for status in models))})


def repository_index(models: Sequence[ModelStatus], *, only_ready: bool) -> bytes:
    """Every version and where it stands, as Triton's model repository extension lists them."""
    return orjson.dumps(
        [_status(status) for status in models if not only_ready or status.state is ModelState.READY],
    )


def failure(error: MlserveError) -> bytes:
    """The body of an error reply: its sentence, with the hint after it."""
    return failure_text(sentence_of(error))


def sentence_of(error: MlserveError) -> str:
    """What a client is told of ``error``: its sentence, with the hint after it."""
    return without_folders(f"{error.message} ({error.hint})" if error.hint else error.message)


def without_folders(sentence: str) -> str:
    """``sentence`` with files by their names alone: where the server keeps them is no client's business.

    >>> without_folders("no file '/srv/models/iris.onnx'")
    "no file 'iris.onnx'"
    """
    return _IN_A_FOLDER.sub("'", sentence)


def failure_text(sentence: str) -> bytes:
    """The body of an error reply.

    >>> failure_text("Not Found")
    b'{"error":"Not Found"}'
    """
    # A name that the client sent may hold half a surrogate pair, which no UTF-8 can carry.
    return orjson.dumps({"error": sentence.encode("utf-8", "replace").decode()})


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    described = spec.to_dict()
    return {name: described[name] for name in ("name", "datatype", "shape")}


def _configured(spec: TensorSpec, skipped: int) -> dict[str, Any]:
    dtype = "STRING" if spec.dtype is DType.STRING else spec.dtype.served
    return {"name": spec.name, "data_type": f"TYPE_{dtype}", "dims": list(spec.shape[skipped:])}


def _kind(view: ModelView) -> str:
    return "KIND_CPU" if view.providers[:1] in ((), ("CPUExecutionProvider",)) else "KIND_GPU"


def _counted(one: ModelStatistics) -> dict[str, Any]:
    parts = ("success", "fail", "queue", *_COMPUTED, "cache_hit", "cache_miss")
    return {
        "name": one.name,
        "version": one.version,
        "last_inference": one.last_inference_ms,
        "inference_count": one.inference_count,
        "execution_count": one.execution_count,
        "inference_stats": {part: _tally(getattr(one, part)) for part in parts},
        "response_stats": {},
        "batch_stats": [
            {"batch_size": size.rows, **{part: _tally(getattr(size, part)) for part in _COMPUTED}}
            for size in one.batches
        ],
        "memory_usage": [],
    }


def _tally(tally: Tally) -> dict[str, int]:
    return {"count": tally.count, "ns": tally.ns}


def _status(status: ModelStatus) -> dict[str, Any]:
    line = {"name": status.name, "state": status.state, "reason": without_folders(status.reason)}
    return line | ({"version": status.version} if status.version is not None else {})
