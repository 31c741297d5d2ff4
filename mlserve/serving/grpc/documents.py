"""The protocol's other answers as messages: metadata, configuration, statistics, index. The facts are those of HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlserve import __version__
from mlserve.protocol.messages import INFERENCE
from mlserve.serving.oip.documents import EXTENSIONS, NAME, model_config, properties_of, statistics, without_folders
from mlserve.serving.seam import ModelState, ModelStatus, ModelView
from mlserve.serving.tallies import ModelStatistics


def server_metadata() -> Any:
    return INFERENCE["ServerMetadataResponse"](name=NAME, version=__version__, extensions=EXTENSIONS)


def model_metadata(view: ModelView) -> Any:
    message = INFERENCE["ModelMetadataResponse"](
        name=view.name, versions=view.versions, platform=view.platform, properties=properties_of(view)
    )
    for specs, field in ((view.signature.inputs, message.inputs), (view.signature.outputs, message.outputs)):
        for spec in specs:
            field.add(name=spec.name, datatype=spec.dtype.served, shape=spec.shape)
    return message


def config(view: ModelView) -> Any:
    """As JSON over HTTP: the names of its fields are those of the message."""
    return INFERENCE["ModelConfigResponse"](config=model_config(view))


def statistics_of(models: Sequence[ModelStatistics]) -> Any:
    documents = statistics(models)["model_stats"]
    for document in documents:
        for field in ("response_stats", "memory_usage"):  # always empty here
            del document[field]
    return INFERENCE["ModelStatisticsResponse"](model_stats=documents)


def index(models: Sequence[ModelStatus], *, only_ready: bool) -> Any:
    message = INFERENCE["RepositoryIndexResponse"]()
    for status in models:
        if not only_ready or status.state is ModelState.READY:
            message.models.add(
                name=status.name,
                version=status.version or "",
                state=str(status.state),
                reason=without_folders(status.reason),
            )
    return message
