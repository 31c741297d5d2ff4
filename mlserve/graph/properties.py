"""The model's own properties (``metadata_props``): deterministic provenance that travels inside the file.

Only what follows from the inputs belongs here: parent digest, method, options, tool versions. A measurement or a time
would change the digest of an unchanged model; those are evidence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import onnx

OWN = "mlserve."
"""What our own properties begin with."""


def get_properties(model: onnx.ModelProto) -> dict[str, str]:
    """The properties by name, sorted."""
    return {prop.key: prop.value for prop in sorted(model.metadata_props, key=lambda prop: prop.key)}


def set_properties(model: onnx.ModelProto, properties: Mapping[str, str]) -> None:
    """Add ``properties`` to those of ``model``, replacing equal names; kept sorted, so that order leaves no trace."""
    merged = {**get_properties(model), **properties}
    del model.metadata_props[:]
    for key in sorted(merged):
        model.metadata_props.add(key=key, value=merged[key])


def provenance_of(model: onnx.ModelProto) -> dict[str, Any]:
    """What our commands wrote into ``model`` of how it was made: ``{"framework": …, "quantize": {"method": …}}``.

    Values that are JSON objects or lists are read; empty for a model that none of them made.
    """
    found: dict[str, Any] = {}
    for key, text in get_properties(model).items():
        if not key.startswith(OWN):
            continue
        first, dot, name = key.removeprefix(OWN).partition(".")
        if not dot:
            found[first] = _read(text)
        elif isinstance(group := found.setdefault(first, {}), dict):
            group[name] = _read(text)
    return found


def _read(text: str) -> Any:
    if not text.startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
