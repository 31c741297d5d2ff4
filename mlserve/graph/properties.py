"""The model's own properties (``metadata_props``): deterministic provenance that travels inside the file.

Only what follows from the inputs belongs here: parent digest, method, options, tool versions. A measurement or a time
would change the digest of an unchanged model; those are evidence.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx


def get_properties(model: onnx.ModelProto) -> dict[str, str]:
    """The properties by name, sorted."""
    return {prop.key: prop.value for prop in sorted(model.metadata_props, key=lambda prop: prop.key)}


def set_properties(model: onnx.ModelProto, properties: Mapping[str, str]) -> None:
    """Add ``properties`` to those of ``model``, replacing equal names; kept sorted, so that order leaves no trace."""
    merged = {**get_properties(model), **properties}
    del model.metadata_props[:]
    for key in sorted(merged):
        model.metadata_props.add(key=key, value=merged[key])
