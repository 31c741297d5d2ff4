"""What a model takes and gives: ``TensorSpec`` and ``Signature``, and whether one can stand in for another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlserve.core.dtypes import DType
from mlserve.core.refs import did_you_mean
from mlserve.errors import InvalidInput

Dim = int | str | None
"""A fixed length, the name of a dynamic axis, or None for a dynamic axis without a name."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output: its name, element type and dims in order.

    >>> TensorSpec("x", DType.FLOAT32, ("batch", 30)).shape
    (-1, 30)
    """

    name: str
    dtype: DType
    dims: tuple[Dim, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The dims as the Open Inference Protocol writes them: dynamic ones are -1."""
        return tuple(dim if isinstance(dim, int) else -1 for dim in self.dims)

    def accepts(self, shape: Sequence[int]) -> bool:
        """Whether an array of ``shape`` fits: same rank, and equal lengths wherever a length is fixed."""
        return len(shape) == len(self.dims) and all(
            dim == length for dim, length in zip(self.dims, shape, strict=True) if isinstance(dim, int)
        )

    def to_dict(self) -> dict[str, Any]:
        """``name``, ``datatype`` (protocol name, else ours), ``shape`` with -1, ``dims`` with the axes' names."""
        return {
            "name": self.name,
            "datatype": self.dtype.oip or self.dtype.value,
            "shape": list(self.shape),
            "dims": list(self.dims),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> TensorSpec:
        """The inverse of ``to_dict``. Raises InvalidInput."""
        try:
            datatype, dims = fields["datatype"], tuple(fields["dims"])
            dtype = next((d for d in DType if datatype in (d.oip, d.value)), None)
            if dtype is None or datatype is None:
                raise InvalidInput(f"'{datatype}' is not a datatype")
            if isinstance(fields["dims"], str) or not all(_is_dim(dim) for dim in dims):
                raise InvalidInput(f"{fields['dims']!r} are not dims")
            return cls(str(fields["name"]), dtype, dims)
        except (KeyError, TypeError) as error:
            raise InvalidInput(f"not a tensor's description: {fields!r}") from error


@dataclass(frozen=True, slots=True)
class Signature:
    """Every input and output of a model, in graph order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def input(self, name: str) -> TensorSpec:
        """The input called ``name``. Raises InvalidInput naming the nearest one."""
        return _named(self.inputs, name, "input")

    def output(self, name: str) -> TensorSpec:
        """The output called ``name``. Raises InvalidInput naming the nearest one."""
        return _named(self.outputs, name, "output")

    @property
    def batch_dim(self) -> str | None:
        """The name of the axis 0 that all inputs and outputs share, or None where they share none.

        Necessary for batching rows of several requests, not sufficient: see ``runtime.certificate``.
        """
        firsts = {spec.dims[0] if spec.dims else 0 for spec in (*self.inputs, *self.outputs)}
        if len(firsts) != 1:
            return None
        (first,) = firsts
        return first if isinstance(first, str) else None

    def incompatibilities(self, newer: Signature) -> list[str]:
        """Why clients of this signature could not be answered by ``newer``; empty if they could.

        ``newer`` must take every call that this one takes and give every output that this one gives. It may ask for no
        further input; it may give further outputs, and accept more shapes.
        """
        problems = [f"input '{spec.name}' is new" for spec in newer.inputs if spec.name not in _names(self.inputs)]
        for old in self.inputs:
            new = next((spec for spec in newer.inputs if spec.name == old.name), None)
            problems += _changes("input", old, new, narrowing=True)
        for old in self.outputs:
            new = next((spec for spec in newer.outputs if spec.name == old.name), None)
            problems += _changes("output", old, new, narrowing=False)
        return problems

    def to_dict(self) -> dict[str, Any]:
        return {
            "inputs": [spec.to_dict() for spec in self.inputs],
            "outputs": [spec.to_dict() for spec in self.outputs],
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Signature:
        """The inverse of ``to_dict``. Raises InvalidInput."""
        try:
            return cls(
                tuple(TensorSpec.from_dict(spec) for spec in fields["inputs"]),
                tuple(TensorSpec.from_dict(spec) for spec in fields["outputs"]),
            )
        except (KeyError, TypeError) as error:
            raise InvalidInput(f"not a signature: {fields!r}") from error


def _is_dim(value: Any) -> bool:
    return value is None or isinstance(value, str) or (type(value) is int and value >= 0)


def _names(specs: Iterable[TensorSpec]) -> list[str]:
    return [spec.name for spec in specs]


def _named(specs: Sequence[TensorSpec], name: str, role: str) -> TensorSpec:
    for spec in specs:
        if spec.name == name:
            return spec
    known = _names(specs)
    raise InvalidInput(
        f"the model has no {role} '{name}'", hint=did_you_mean(name, known) or f"it has {', '.join(known)}"
    )


def _changes(role: str, old: TensorSpec, new: TensorSpec | None, *, narrowing: bool) -> list[str]:
    if new is None:
        return [f"{role} '{old.name}' is gone"]
    if new.dtype is not old.dtype:
        return [f"{role} '{old.name}' was {old.dtype} and is {new.dtype}"]
    if len(new.dims) != len(old.dims):
        return [f"{role} '{old.name}' had {len(old.dims)} dims and has {len(new.dims)}"]
    kept = all((n == o) or (narrowing and n == -1) for o, n in zip(old.shape, new.shape, strict=True))
    return [] if kept else [f"{role} '{old.name}' was {list(old.shape)} and is {list(new.shape)}"]
