"""Bodies of the model repository extension: which versions to load, or what to list.

Source: Triton's model repository extension. Beyond it: ``{"versions": [7]}`` loads versions that hold no stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from mlserve.errors import InvalidInput, Unsupported
from mlserve.serving.oip.nesting import check_depth

_LAST = (1 << 63) - 1
"""The last version that a registry can hold."""


class IndexRequest(msgspec.Struct):
    """``ready`` leaves only what answers."""

    ready: bool = False


class _ControlRequest(msgspec.Struct):
    parameters: dict[str, Any] = {}
    versions: list[int] | None = None


def read_index(body: bytes, max_depth: int) -> IndexRequest:
    """The request in ``body``, which may be empty. Raises InvalidInput."""
    return _read(body, IndexRequest, max_depth, '{"ready": true}') or IndexRequest()


def read_load(body: bytes, max_depth: int) -> list[int] | None:
    """The versions to load, None for those that stand in a stage. Raises InvalidInput, Unsupported."""
    asked = _read(body, _ControlRequest, max_depth, '{"parameters": {}}') or _ControlRequest()
    return versions_of(asked.parameters) if asked.versions is None else _checked(asked.versions)


def check_unload(body: bytes, max_depth: int) -> None:
    """``unload_dependents`` is taken and means nothing: models here have no dependents. Raises InvalidInput."""
    _read(body, _ControlRequest, max_depth, '{"parameters": {}}')


def versions_of(parameters: Mapping[str, Any]) -> list[int] | None:
    """The versions that load parameters name: ``versions``, or Triton's ``config`` with a specific version policy.

    Raises InvalidInput, and Unsupported for files sent along: a version is what was registered.
    """
    if any(name.startswith("file:") for name in parameters):
        raise Unsupported("a model's files cannot be sent with a load", hint="mlserve register NAME MODEL.onnx")
    if "versions" in parameters:
        return _checked(parameters["versions"])
    config = parameters.get("config")
    if config is None:
        return None
    try:
        fields = msgspec.json.decode(config) if isinstance(config, str | bytes) else config
        policy = fields.get("version_policy") or {}
        specific = policy.get("specific")
        return None if specific is None else _checked(specific["versions"])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, AttributeError, TypeError, KeyError) as error:
        raise InvalidInput("the parameter 'config' is no model configuration in JSON") from error


def _checked(versions: Any) -> list[int]:
    """Version numbers; protobuf's JSON has them as texts."""
    try:
        if isinstance(versions, str | bytes):
            raise TypeError
        found = [int(version) for version in versions if not isinstance(version, bool | float)]
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"versions is {versions!r}, not a list of version numbers") from error
    if not found or len(found) != len(versions) or min(found) < 1 or max(found) > _LAST:
        raise InvalidInput(f"versions is {versions!r}, not a list of version numbers")
    return found


def _read(body: bytes, kind: type[Any], max_depth: int, example: str) -> Any:
    if not body.strip():
        return None
    check_depth(body, max_depth)
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the body is not JSON such as {example}") from error
