"""Names that people see: outputs called by what they are, axis 0 called ``batch``, and no name used twice."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import onnx

from mlserve.graph.walking import graphs

BATCH = "batch"


def rename_inputs(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Call the inputs of ``model`` ``names``, in order; torch gives another name to one that is an output as well."""
    current = [value.name for value in model.graph.input]
    _make_room(model, names, keep=current)
    _rename_values(model, dict(zip(current, names, strict=True)))


def rename_outputs(model: onnx.ModelProto, names: Sequence[str]) -> list[str]:
    """Call the outputs of ``model`` ``names``, in order, and return what they are called now.

    A name that an inner value bears already is taken from it: torch's exporter would write a graph that defines it
    twice (pytorch#158094). A name that an input bears gets ``_out`` appended.
    """
    inputs = {value.name for value in model.graph.input}
    wanted = _distinct([f"{name}_out" if name in inputs else name for name in names])
    current = [value.name for value in model.graph.output]
    _make_room(model, wanted, keep=current)
    # An output that is also an input or another output has no name of its own to change.
    own = {old: new for old, new in zip(current, wanted, strict=True) if old not in inputs and current.count(old) == 1}
    _rename_values(model, own)
    for value, new in zip(model.graph.output, wanted, strict=True):
        if value.name != new:
            model.graph.node.add(op_type="Identity", name=f"{new}_copy", input=[value.name], output=[new])
            value.name = new
    return wanted


def number_values(model: onnx.ModelProto) -> None:
    """Call inner values ``v1``, ``v2``… in the order that nodes have them, and sort weights so.

    For converters that take one of several names by chance, and would give other bytes each time.
    """
    kept = {value.name for value in (*model.graph.input, *model.graph.output)}
    free = (new for number in itertools.count(1) if (new := f"v{number}") not in kept)
    numbers: dict[str, str] = {}
    for graph in graphs(model):
        for node in graph.node:
            node.name = ""
            for name in (*node.input, *node.output):
                if name and name not in kept and name not in numbers:
                    numbers[name] = next(free)
    weights = model.graph.initializer
    numbers |= {tensor.name: next(free) for tensor in weights if tensor.name not in numbers}
    _rename_values(model, numbers)
    weights.sort(key=lambda tensor: (len(tensor.name), tensor.name))
    del model.graph.value_info[:]


def name_axes(model: onnx.ModelProto) -> None:
    """Name the dynamic axes of inputs and outputs that have no name, or only a tracer's number (``s77``, ``unk__8``).

    Axis 0 of the first input is ``batch``, and so is every axis that is equal to it; others are ``axis_1``, ``axis_2``…
    Names that a person gave stay.
    """
    dims = list(_dynamic_dims(model))
    first = next((dim.dim_param for axis, dim in dims if axis == 0 and _is_nameless(dim.dim_param)), "")
    names = {first: BATCH}
    for axis, dim in dims:
        if dim.dim_param in names or (axis == 0 and not dim.dim_param):
            dim.dim_param = names.get(dim.dim_param, BATCH)
        elif dim.dim_param and _is_nameless(dim.dim_param):
            dim.dim_param = names.setdefault(dim.dim_param, f"axis_{len(names)}")


def _is_nameless(name: str) -> bool:
    return not name or re.fullmatch(r"[su]\d+|unk__\d+", name) is not None


def _dynamic_dims(model: onnx.ModelProto) -> Iterator[tuple[int, Any]]:
    for value in (*model.graph.input, *model.graph.output):
        if value.type.HasField("tensor_type"):
            for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                if not dim.HasField("dim_value"):
                    yield axis, dim


def _distinct(names: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for name in names:
        kept.append(_free(name, set(kept)))
    return kept


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number, free = number + 1, f"{name}_{number}"
    return free


def _make_room(model: onnx.ModelProto, names: Sequence[str], *, keep: Sequence[str]) -> None:
    """Take ``names`` from every value that bears one and is not among ``keep``."""
    taken = _value_names(model)
    _rename_values(model, {name: _free(f"{name}_inner", taken) for name in names if name in taken - set(keep)})


def _value_names(model: onnx.ModelProto) -> set[str]:
    names: set[str] = set()

    def note(name: str) -> str:
        names.add(name)
        return name

    _visit_names(model, note)
    return names


def _rename_values(model: onnx.ModelProto, moves: Mapping[str, str]) -> None:
    if moves:
        _visit_names(model, lambda name: moves.get(name, name))


def _visit_names(model: onnx.ModelProto, rename: Callable[[str], str]) -> None:
    """Replace every value's name by ``rename(name)``, in subgraphs as well: they refer to values around them."""
    for graph in graphs(model):
        for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
            value.name = rename(value.name)
        for sparse in graph.sparse_initializer:
            sparse.values.name = rename(sparse.values.name)
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [rename(name) if name else name for name in names]
