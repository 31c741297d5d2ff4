"""Batches of the length that is asked for, out of pieces of whatever length a file came in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from mlserve.core.tensors import Signature
from mlserve.errors import InvalidInput
from mlserve.rows.tables import MAX_BATCH_BYTES, Array


@dataclass(slots=True)
class RowBatch:
    """Rows ``start`` (from 0) onwards: the model's inputs by name, and those of label, group, key and time there are.

    Rows are on axis 0; an input of rank 0 is a 0-d array that holds for all of them.
    """

    start: int
    inputs: dict[str, Array]
    roles: dict[str, Array]

    @property
    def rows(self) -> int:
        """How many rows there are; 1 for a call whose arrays are not rows."""
        lengths = self._lengths()
        return lengths.pop() if len(lengths) == 1 else 1

    @property
    def has_rows(self) -> bool:
        """Whether the arrays can be cut by row, rather than being one call's tensors as they stand."""
        return len(self._lengths()) == 1 and any(array.ndim for array in self.inputs.values())

    @property
    def size_bytes(self) -> int:
        return sum(array.nbytes for array in (*self.inputs.values(), *self.roles.values()))

    def _lengths(self) -> set[int]:
        return {len(array) for array in (*self.inputs.values(), *self.roles.values()) if array.ndim}

    def first(self, rows: int) -> RowBatch:
        return self.slice(0, min(rows, self.rows)) if self.has_rows else self

    def slice(self, first: int, end: int) -> RowBatch:
        """Rows ``first`` to ``end`` of this batch, as views."""
        inputs, roles = (
            {name: array[first:end] if array.ndim else array for name, array in arrays.items()}
            for arrays in (self.inputs, self.roles)
        )
        return RowBatch(self.start + first, inputs, roles)

    def take(self, index: Array) -> RowBatch:
        """Copies of the rows at ``index``, in its order; for a batch that ``has_rows``."""
        inputs, roles = (
            {name: array[index] if array.ndim else array for name, array in arrays.items()}
            for arrays in (self.inputs, self.roles)
        )
        return RowBatch(self.start, inputs, roles)


def split_scalars(piece: RowBatch, signature: Signature) -> Iterator[RowBatch]:
    """``piece``, divided wherever an input of rank 0 changes its value, that input then being 0-d."""
    names = [spec.name for spec in signature.inputs if not spec.dims and piece.inputs[spec.name].ndim]
    if not names:
        yield piece
        return
    rows = piece.rows
    changes = np.zeros(rows - 1, dtype=bool)
    for name in names:
        array = piece.inputs[name]
        changes |= array[1:] != array[:-1]
    if len(names) == len(piece.inputs):
        # Without any input that has rows, each row is a call of its own.
        changes[:] = True
    cuts = [0, *(np.flatnonzero(changes) + 1).tolist(), rows]
    for first, end in pairwise(cuts):
        part = piece.slice(first, end)
        part.inputs |= {name: np.asarray(part.inputs[name][0]) for name in names}
        yield part


def regroup(pieces: Iterable[RowBatch], rows: int, *, step: int | None, path: Path) -> Iterator[RowBatch]:
    """Batches of ``rows``, or of ``step`` where a model takes exactly that many, out of ``pieces`` in order.

    A batch ends early where shapes or 0-d values change. Raises InvalidInput where rows are left over from ``step``.
    """
    size = step or rows
    held: list[RowBatch] = []
    held_rows = held_bytes = 0
    for piece in pieces:
        if held and not _continues(held[-1], piece):
            yield from _cut(held, size, step, path)
            held, held_rows, held_bytes = [], 0, 0
        if not piece.has_rows:
            yield piece
            continue
        held.append(piece)
        held_rows += piece.rows
        held_bytes += piece.size_bytes
        if held_rows >= size:
            whole = join(held, path)
            full = held_rows - held_rows % size
            yield from _cut([whole.slice(0, full)], size, step, path)
            rest = whole.slice(full, held_rows)
            held, held_rows, held_bytes = [rest] if rest.rows else [], rest.rows, rest.size_bytes
        elif not step and held_bytes >= MAX_BATCH_BYTES:
            yield from _cut(held, size, step, path)
            held, held_rows, held_bytes = [], 0, 0
    if held:
        yield from _cut(held, size, step, path)


def join(parts: list[RowBatch], path: Path) -> RowBatch:
    """Consecutive batches as one. Raises InvalidInput where they differ in shape."""
    head = parts[0]
    for part in parts[1:]:
        if not _continues(head, part):
            raise InvalidInput(
                f"'{path}' row {part.start + 1} has another shape than the rows before it, and they are needed as one"
            )
    if len(parts) == 1:
        return head
    inputs, roles = (
        {
            name: np.concatenate([getattr(part, kind)[name] for part in parts]) if array.ndim else array
            for name, array in getattr(head, kind).items()
        }
        for kind in ("inputs", "roles")
    )
    return RowBatch(head.start, inputs, roles)


def _continues(before: RowBatch, after: RowBatch) -> bool:
    for kind in ("inputs", "roles"):
        ones, others = getattr(before, kind), getattr(after, kind)
        for name, one in ones.items():
            other = others[name]
            if one.ndim != other.ndim or one.shape[1:] != other.shape[1:] or (not one.ndim and one != other):
                return False
    return before.has_rows and after.has_rows


def _cut(held: list[RowBatch], size: int, step: int | None, path: Path) -> Iterator[RowBatch]:
    """``held`` in batches of ``size``, the last with what is left over."""
    whole = join(held, path)
    left = whole.rows % size
    for first in range(0, whole.rows - left, size):
        yield whole.slice(first, first + size)
    if left and step:
        raise InvalidInput(f"'{path}' leaves {left} rows over: the model takes exactly {step} in each call")
    if left:
        yield whole.slice(whole.rows - left, whole.rows)
