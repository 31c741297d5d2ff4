"""The protocol's other documents: server and model metadata, the lists of models, and errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from mlserve import __version__
from mlserve.core.tensors import TensorSpec
from mlserve.errors import MlserveError
from mlserve.serving.seam import ModelState, ModelStatus, ModelView

EXTENSIONS = ("binary_tensor_data",)


def server_metadata() -> bytes:
    """Who answers, and what beyond the protocol it offers."""
    return orjson.dumps({"name": "mlserve", "version": __version__, "extensions": EXTENSIONS})


def model_metadata(view: ModelView) -> bytes:
    """What a version takes and gives; ``properties`` are texts, as in the gRPC form of the protocol."""
    properties = {
        "version": view.version,
        "stages": ",".join(view.stages),
        "digest": view.digest or "",
        "batchable": str(view.is_batchable).lower(),
        "exactness": view.exactness,
        "providers": ",".join(view.providers),
    }
    return orjson.dumps(
        {
            "name": view.name,
            "versions": view.versions,
            "platform": view.platform,
            "inputs": [_tensor(spec) for spec in view.signature.inputs],
            "outputs": [_tensor(spec) for spec in view.signature.outputs],
            "properties": {name: value for name, value in properties.items() if value},
        }
    )


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
    return failure_text(f"{error.message} ({error.hint})" if error.hint else error.message)


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


def _status(status: ModelStatus) -> dict[str, Any]:
    line = {"name": status.name, "state": status.state, "reason": status.reason}
    return line | ({"version": status.version} if status.version is not None else {})
