"""Output shapes as the graph really gives them: exporters declare some that hold for their example only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx

Outputs = Mapping[str, np.ndarray[Any, Any]]


def declare_outputs(model: onnx.ModelProto, given: Iterable[Outputs]) -> bool:
    """Correct declared output shapes that ``given``, answers of the graph, contradict; whether there were any.

    A length that all answers share takes the place of a wrong one; where they differ the axis is dynamic, without a
    name. Names of dynamic axes stay.
    """
    shapes: dict[str, set[tuple[int, ...]]] = {}
    for outputs in given:
        for name, array in outputs.items():
            shapes.setdefault(name, set()).add(array.shape)
    corrected = [_correct(value, shapes[value.name]) for value in model.graph.output if value.name in shapes]
    return any(corrected)


def _correct(value: onnx.ValueInfoProto, shapes: set[tuple[int, ...]]) -> bool:
    if not value.type.tensor_type.HasField("shape") or len({len(shape) for shape in shapes}) != 1:
        return False
    dims = value.type.tensor_type.shape.dim
    lengths = [set(axis) for axis in zip(*shapes, strict=True)]
    changed = len(dims) != len(lengths)
    while len(dims) > len(lengths):
        dims.pop()
    while len(dims) < len(lengths):
        dims.add()
        dims[-1].dim_value = -1
    for dim, found in zip(dims, lengths, strict=True):
        if dim.HasField("dim_value") and found != {dim.dim_value}:
            changed = True
            dim.Clear()
            if len(found) == 1:
                dim.dim_value = found.pop()
    return changed
