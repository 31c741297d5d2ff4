"""Requests in, arrays of one batch out: checks each request against the signature, then gathers many at once.

``Intake.admit`` is the cheap check on arrival; what only looking at every value can tell (a fraction where integers are
taken, a number too large for its type) shows in ``gather``, once a batch.
"""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from math import isinf, prod
from typing import Any

import numpy as np

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import InvalidInput
from mlserve.runtime.padding import filled_up
from mlserve.serving.buckets import LengthBuckets
from mlserve.serving.seam import InferRequest, InputTensor

Shape = tuple[int, ...]
Array = np.ndarray[Any, Any]

KNOWN_SHAPES = 1024
"""Shapes remembered per input; clients that send more kinds than this are checked in full each time."""

_MOST_OF_NOTHING = 1 << 20
"""Elements that an empty tensor may have but for its zeros: no byte is sent for them, so that no other limit holds, and
a model may make room for each, as a mean over no rows does."""

_TYPECODES = {
    DType.FLOAT32: "f",
    DType.FLOAT64: "d",
    DType.FLOAT16: "d",
    DType.BFLOAT16: "d",
    DType.INT8: "b",
    DType.INT16: "h",
    DType.INT32: "i",
    DType.INT64: "q",
    DType.UINT8: "B",
    DType.UINT16: "H",
    DType.UINT32: "I",
    DType.UINT64: "Q",
}


@dataclass(slots=True)
class _Known:
    """An input's spec, and for each shape seen: number of values, rows, and the shape of one row."""

    spec: TensorSpec
    dtype: DType
    shapes: dict[Shape, tuple[int, int, Shape]] = field(default_factory=dict)


class Intake:
    """Checks requests against one signature and gathers them; ``is_batchable`` comes from the certificate.

    With ``buckets``, requests of unlike length share a run too.
    """

    def __init__(self, signature: Signature, *, is_batchable: bool, buckets: LengthBuckets | None = None) -> None:
        self._buckets = buckets
        self._known = {spec.name: _Known(spec, spec.dtype) for spec in signature.inputs}
        self._names = [spec.name for spec in signature.inputs]
        self._outputs = {spec.name for spec in signature.outputs}
        self._signature = signature
        self._is_batchable = is_batchable

    def admit(self, request: InferRequest) -> tuple[int, Hashable]:
        """The number of rows (at least 1), and what requests must have equal to share a run; None runs alone.

        Alone are all requests of a model that is not batchable, requests of zero rows, and those whose inputs differ in
        rows. Raises InvalidInput for tensors that do not fit, naming tensor and reason.
        """
        inputs = request.inputs
        if request.outputs is not None:
            self._check_outputs(request.outputs)
        if len(inputs) == 1 == len(self._names):
            tensor = inputs[0]
            count, rows, tail = self._look_up(tensor)
            if type(tensor.values) is not list or len(tensor.values) != count:
                _check_values(tensor, count)
            return (rows, tail) if self._is_batchable and rows else (rows or 1, None)
        self._check_names(inputs)
        found = {}
        for tensor in inputs:
            count, rows, tail = self._look_up(tensor)
            _check_values(tensor, count)
            found[tensor.name] = rows, tail
        lengths = {rows for rows, _ in found.values()}
        if not self._is_batchable or len(lengths) != 1 or 0 in lengths:
            return max(1, *lengths) if lengths else 1, None
        if self._buckets is not None:
            return lengths.pop(), self._buckets.key(inputs, {name: tail for name, (_, tail) in found.items()})
        return lengths.pop(), tuple(found[name][1] for name in self._names)

    def gather(self, requests: Sequence[InferRequest]) -> dict[str, Array]:
        """The inputs of one run: the rows of all ``requests``, in order, whose keys are equal (or of a single one).

        Arrays may be views of what a request holds. Raises InvalidInput for values that do not fit their type.
        """
        if len(self._names) == 1:
            return {self._names[0]: _joined([request.inputs[0] for request in requests])}
        by_name = [{tensor.name: tensor for tensor in request.inputs} for request in requests]
        row_lengths = self.lengths(requests)
        if row_lengths is not None and self._buckets is not None:
            places, longest = self._buckets.places, max(row_lengths)
            return {
                name: _joined([tensors[name] for tensors in by_name])
                if (at := places[name]) is None
                else filled_up([_joined([tensors[name]]) for tensors in by_name], at, longest)
                for name in self._names
            }
        return {name: _joined([tensors[name] for tensors in by_name]) for name in self._names}

    def lengths(self, requests: Sequence[InferRequest]) -> list[int] | None:
        """How long the rows of each of ``requests`` are, where ``gather`` fills them up; None where all are equal."""
        if self._buckets is None or len(requests) == 1:
            return None
        found = [self._buckets.length_of(request.inputs) for request in requests]
        return found if min(found) < max(found) else None

    def _look_up(self, tensor: InputTensor) -> tuple[int, int, Shape]:
        known = self._known.get(tensor.name)
        if known is None:
            self._signature.input(tensor.name)
            raise AssertionError("an input of the signature is always known")
        if tensor.dtype is not known.dtype:
            raise InvalidInput(
                f"input '{tensor.name}' is {tensor.dtype.oip or tensor.dtype}, "
                f"and the model takes {known.dtype.oip or known.dtype}"
            )
        entry = known.shapes.get(tensor.shape)
        if entry is None:
            entry = _entry(known.spec, tensor.shape)
            if len(known.shapes) < KNOWN_SHAPES:
                known.shapes[tensor.shape] = entry
        return entry

    def _check_names(self, inputs: Sequence[InputTensor]) -> None:
        given = [tensor.name for tensor in inputs]
        for name in given:
            self._signature.input(name)
        missing = [name for name in self._names if name not in given]
        if missing:
            raise InvalidInput(f"input '{missing[0]}' is missing")
        if len(given) != len(self._names):
            twice = next(name for name in given if given.count(name) > 1)
            raise InvalidInput(f"input '{twice}' was given twice")

    def _check_outputs(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self._outputs:
                self._signature.output(name)


def _entry(spec: TensorSpec, shape: Shape) -> tuple[int, int, Shape]:
    if not spec.accepts(shape) or any(length < 0 for length in shape):
        raise InvalidInput(f"input '{spec.name}' has shape {list(shape)}, and the model takes {list(spec.shape)}")
    if 0 in shape and prod(filter(None, shape)) > _MOST_OF_NOTHING:
        raise InvalidInput(f"input '{spec.name}' has shape {list(shape)}, which is too large for an empty tensor")
    return prod(shape), shape[0] if shape else 1, shape[1:]


def _check_values(tensor: InputTensor, count: int) -> None:
    values = tensor.values
    if type(values) is list:
        if len(values) != count:
            raise InvalidInput(
                f"input '{tensor.name}' has {len(values)} values, and shape {list(tensor.shape)} needs {count}"
            )
        return
    if not isinstance(values, np.ndarray) or values.shape != tensor.shape or values.dtype != tensor.dtype.numpy:
        raise InvalidInput(f"input '{tensor.name}' holds an array that is not of the shape and type it says")


def _joined(tensors: Sequence[InputTensor]) -> Array:
    """The rows of the same input of several requests. A single array is passed on as it is."""
    first = tensors[0]
    if len(tensors) == 1:
        values = first.values
        return convert(first, values).reshape(first.shape) if isinstance(values, list) else values
    if all(type(tensor.values) is list for tensor in tensors):
        flat: list[Any] = []
        for tensor in tensors:
            flat += tensor.values
        rows = sum([tensor.shape[0] for tensor in tensors])
        return convert(first, flat).reshape(rows, *first.shape[1:])
    return np.concatenate([_joined([tensor]) for tensor in tensors])


def convert(tensor: InputTensor, flat: list[Any]) -> Array:
    """``flat`` Python values as a 1-D array of ``tensor``'s type: numbers rounded to nearest, never otherwise changed.

    Integers are taken for floats, and floats without a fraction for integers. Raises InvalidInput for anything else,
    and for a finite number that would round to an infinity.
    """
    dtype = tensor.dtype
    code = _TYPECODES.get(dtype)
    try:
        if code is None:
            return _converted_others(dtype, flat)
        numbers = np.frombuffer(array(code, flat), code)
    except OverflowError as error:
        raise _out_of_range(tensor) from error
    except TypeError as error:
        whole = _whole_numbers(flat) if dtype.is_integer else None
        if whole is None:
            raise InvalidInput(
                f"input '{tensor.name}' has a value that is not {_description(dtype)}, as {dtype.oip or dtype} needs"
            ) from error
        return convert(tensor, whole)
    if code == "d" and dtype is not DType.FLOAT64:
        with np.errstate(over="ignore"):
            numbers = numbers.astype(dtype.numpy)
    if dtype.is_float and np.count_nonzero(np.isfinite(numbers)) < len(flat) and _has_overflown(numbers, flat):
        raise _out_of_range(tensor)
    return numbers


def _has_overflown(numbers: Array, flat: list[Any]) -> bool:
    """Whether some infinity of ``numbers`` was none in ``flat``."""
    return not all(map(isinf, compress(flat, np.isinf(numbers))))


def _out_of_range(tensor: InputTensor) -> InvalidInput:
    return InvalidInput(f"input '{tensor.name}' has a number out of range for {tensor.dtype.oip or tensor.dtype}")


def _converted_others(dtype: DType, flat: list[Any]) -> Array:
    if dtype is DType.STRING:
        if not all(type(value) is str for value in flat):
            raise TypeError
        strings = np.empty(len(flat), object)
        strings[:] = flat
        return strings
    if dtype is DType.BOOL:
        if not all(value is True or value is False or value == 0 or value == 1 for value in flat):
            raise TypeError
        return np.array(flat, bool)
    raise TypeError


def _whole_numbers(flat: list[Any]) -> list[int] | None:
    """The same numbers as integers, or None where one is no number or has a fraction."""
    try:
        return [value if type(value) is int else _whole(value) for value in flat]
    except (TypeError, ValueError):
        return None


def _whole(value: Any) -> int:
    if not isinstance(value, float) or not value.is_integer():
        raise ValueError(value)
    return int(value)


def _description(dtype: DType) -> str:
    if dtype is DType.STRING:
        return "a string"
    if dtype is DType.BOOL:
        return "true or false"
    return "an integer" if dtype.is_integer else "a number"
