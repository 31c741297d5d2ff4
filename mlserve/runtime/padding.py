"""Proof that filling rows up to a common length changes no answer, so that rows of unlike length may share a run.

A mask input says where a row ends; whether the model heeds it everywhere is not promised, so it is shown, once a
digest: rows of several lengths, each alone, against the same rows in one batch, filled up with zeros to the longest.

    an input called ...mask..., [batch, axis], every input's ``axis`` of that name ──no──► refused
    rows alone  against  rows filled up, in several mixtures
        bit-equal ► "exact"      within float arithmetic ► "close"      else ► refused
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import InvalidInput, MlserveError
from mlserve.runtime.closeness import EXACT, Closeness, closeness
from mlserve.runtime.model import Arrays, OnnxModel
from mlserve.runtime.samples import synthetic_inputs

PROBE_LENGTHS = (1, 5, 12, 2, 31, 3, 8, 16)
"""Of the probe's rows, in an order that puts short ones beside long ones; around the tile sizes of kernels."""

MIXTURES = ((0, 1), (3, 4, 5), (2, 6), (7, 4, 0), tuple(range(8)), tuple(reversed(range(8))))
"""Which of the rows share a run: two lengths apart, at the front and at the back, and all of them."""


@dataclass(frozen=True, slots=True)
class Padding:
    """What the probe showed. ``outputs`` has the axes of each output that are as long as the row, and are cut back."""

    exactness: Literal["exact", "close", "none"]
    reason: str
    axis: str
    mask: str
    max_abs: float
    outputs: Mapping[str, tuple[int, ...]]

    @property
    def is_inert(self) -> bool:
        """Whether rows of unlike length may share a run."""
        return self.exactness != "none"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Padding:
        """The inverse of ``to_dict``. Raises InvalidInput."""
        try:
            known = {name: fields[name] for name in cls.__dataclass_fields__}
            padding = cls(**known | {"outputs": {name: tuple(axes) for name, axes in fields["outputs"].items()}})
        except (AttributeError, KeyError, TypeError) as error:
            raise InvalidInput(f"not a proof of padding: {fields!r}") from error
        if padding.exactness not in ("exact", "close", "none"):
            raise InvalidInput(f"not a proof of padding: exactness '{padding.exactness}'")
        return padding


def has_lengths(signature: Signature) -> bool:
    """Whether any input has a dynamic axis besides the batch: only then is there anything to fill up."""
    return any(not isinstance(dim, int) for spec in signature.inputs for dim in spec.dims[1:])


def prove_padding(
    model: OnnxModel, *, rows: Mapping[str, np.ndarray[Any, Any]] | None = None, seed: int = 0
) -> Padding:
    """The proof for ``model``, whose rows are already known to be independent, or the reason why there is none.

    ``rows`` are real inputs; where they are too few or too short for the probe, rows are made up. Never raises for
    what the model does.
    """
    found = find_axis(model.signature)
    if isinstance(found, str):
        return _refused(found)
    axis, mask = found
    try:
        singles = _singles(model.signature, axis, mask, rows, seed)
        alone = [model.run(single) for single in singles]
        outputs = {spec.name: _own_axes(spec, alone) for spec in model.signature.outputs}
        seen = EXACT
        for mixture in MIXTURES:
            seen = seen.merge(_compare(model, axis, outputs, singles, alone, mixture))
            if not seen.is_close:
                return _refused("a row's answer changes when it is filled up under the mask", axis, mask)
    except MlserveError as error:
        return _refused(f"the probe could not run: {error.message}", axis, mask)
    if not _is_telling(alone):
        return _refused("every probe row got the same answer, which shows nothing", axis, mask)
    exactness: Literal["exact", "close"] = "exact" if seen.is_exact else "close"
    return Padding(exactness, "filled up equals alone in the probe", axis, mask, seen.max_abs, outputs)


def find_axis(signature: Signature) -> tuple[str, str] | str:
    """The name of the axis that may be filled up and of the mask that says so, or why there is none."""
    masks = [spec for spec in signature.inputs if "mask" in spec.name.lower() and len(spec.dims) == 2]
    masks = [spec for spec in masks if isinstance(spec.dims[1], str)]
    if not masks:
        return "no input is a mask over a dynamic axis"
    if len(masks) > 1:
        return f"several inputs are masks: {', '.join(spec.name for spec in masks)}"
    axis = masks[0].dims[1]
    assert isinstance(axis, str), "only masks over a named axis were kept"
    if len(signature.inputs) == 1:
        return "the mask is the only input"
    for spec in signature.inputs:
        if spec.dims[1:].count(axis) > 1:
            return f"input '{spec.name}' has axis '{axis}' twice"
        other = next((dim for dim in spec.dims[1:] if dim != axis and not isinstance(dim, int)), axis)
        if other != axis:
            return f"input '{spec.name}' has another dynamic axis than '{axis}' of '{masks[0].name}'"
        if any(dim is None for dim in spec.dims[1:]):
            return f"input '{spec.name}' has a dynamic axis without a name"
    return axis, masks[0].name


def axis_of(spec: TensorSpec, axis: str) -> int | None:
    """Where ``spec`` has ``axis`` behind its batch axis; None where it has none."""
    return next((number for number, dim in enumerate(spec.dims) if number and dim == axis), None)


def filled_up(arrays: Sequence[np.ndarray[Any, Any]], at: int, length: int) -> np.ndarray[Any, Any]:
    """``arrays`` one after another on axis 0, each with zeros at the end of axis ``at`` so that it has ``length``."""
    shape = list(arrays[0].shape)
    shape[0], shape[at] = sum(len(array) for array in arrays), length
    whole = np.zeros(shape, arrays[0].dtype)
    start = 0
    before = (slice(None),) * (at - 1)
    for array in arrays:
        stop = start + len(array)
        whole[(slice(start, stop), *before, slice(array.shape[at]))] = array
        start = stop
    return whole


def _refused(reason: str, axis: str = "", mask: str = "") -> Padding:
    return Padding("none", reason, axis, mask, -1.0, {})


def _singles(
    signature: Signature, axis: str, mask: str, rows: Mapping[str, np.ndarray[Any, Any]] | None, seed: int
) -> list[Arrays]:
    """One row of each of ``PROBE_LENGTHS``; every other one masks some of its own elements, none masks all."""
    count, longest = len(PROBE_LENGTHS), max(PROBE_LENGTHS)
    pool = synthetic_inputs(signature, count, seed, lengths={axis: longest})
    for spec in signature.inputs:
        given = None if rows is None else rows[spec.name]
        at = axis_of(spec, axis)
        if given is not None and len(given) >= count and (at is None or given.shape[at] >= longest):
            pool[spec.name] = given[:count]
    pool[mask] = np.array(pool[mask] != 0).astype(pool[mask].dtype)
    pool[mask][::2] = 1
    pool[mask][:, 0] = 1
    return [
        {
            spec.name: _cut(
                pool[spec.name][row : row + 1], () if (at := axis_of(spec, axis)) is None else (at,), length
            )
            for spec in signature.inputs
        }
        for row, length in enumerate(PROBE_LENGTHS)
    ]


def _own_axes(spec: TensorSpec, alone: Sequence[Arrays]) -> tuple[int, ...]:
    """The axes of an output that were as long as the row, for every row."""
    shapes = [answer[spec.name].shape for answer in alone]
    return tuple(
        at
        for at in range(1, min(len(shape) for shape in shapes))
        if all(shape[at] == length for shape, length in zip(shapes, PROBE_LENGTHS, strict=True))
    )


def _compare(
    model: OnnxModel,
    axis: str,
    outputs: Mapping[str, tuple[int, ...]],
    singles: Sequence[Arrays],
    alone: Sequence[Arrays],
    mixture: Sequence[int],
) -> Closeness:
    length = max(PROBE_LENGTHS[row] for row in mixture)
    inputs = {}
    for spec in model.signature.inputs:
        parts = [singles[row][spec.name] for row in mixture]
        at = axis_of(spec, axis)
        inputs[spec.name] = np.concatenate(parts) if at is None else filled_up(parts, at, length)
    together = model.run(inputs)
    seen = EXACT
    for place, row in enumerate(mixture):
        own = {
            name: _cut(array[place : place + 1], outputs[name], PROBE_LENGTHS[row]) for name, array in together.items()
        }
        seen = seen.merge(closeness(alone[row], own))
    return seen


def _cut(array: np.ndarray[Any, Any], axes: Sequence[int], length: int) -> np.ndarray[Any, Any]:
    for at in axes:
        array = array[(slice(None),) * at + (slice(length),)]
    return np.ascontiguousarray(array)


def _is_telling(alone: Sequence[Arrays]) -> bool:
    """Whether answers differ beyond their shape, so that a disturbed one would have shown."""
    return any(
        array.size and not np.array_equal(array.ravel()[:1], alone[0][name].ravel()[:1])
        for answer in alone[1:]
        for name, array in answer.items()
    )
