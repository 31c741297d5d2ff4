"""Opening a data file as rows of a model's inputs, with labels and keys beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from mlserve.core.digests import digest_file
from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import InvalidInput
from mlserve.rows.capture_format import is_capture
from mlserve.rows.casting import cast
from mlserve.rows.csv_file import CsvTable
from mlserve.rows.json_file import JsonTable
from mlserve.rows.mapping import Mapping, Roles, map_columns
from mlserve.rows.npz_file import NpzTable
from mlserve.rows.parquet_file import ParquetTable
from mlserve.rows.regrouping import RowBatch, join, regroup, split_scalars
from mlserve.rows.tables import Array, RawBatch, Table

__all__ = ["Roles", "RowBatch", "Rows", "Table", "open_rows", "open_table"]

DEFAULT_ROLES = Roles()
NO_COLUMNS = Mapping((), None, (), {})
"""Of a file without any row, such as ``[]``, in which no column can be missed."""

SUFFIXES = (".npz", ".parquet", ".csv", ".jsonl", ".json")


def open_table(path: Path, *, text: Collection[str] = (), labelled: bool = False) -> Table:
    """The data file at ``path`` as named raw columns; its suffix says what it is.

    Columns in ``text`` are kept as text where the format has no types of its own (CSV). Of a capture that has outcomes,
    ``labelled`` gives the rows that have one, with their ``label``. Raises NotFound, and
    InvalidInput for an unknown suffix or a file that is empty, cut short or damaged.
    """
    if is_capture(path) and path.suffix.lower() not in SUFFIXES:
        from mlserve.rows.capture_table import CaptureTable

        return CaptureTable(path, labelled=labelled)
    match path.suffix.lower():
        case ".npz":
            return NpzTable(path)
        case ".parquet":
            return ParquetTable(path)
        case ".csv":
            return CsvTable(path, text=text)
        case ".jsonl" | ".json":
            return JsonTable(path)
        case suffix:
            what = f"is a '{suffix}' file, not data" if suffix else "has no suffix to tell its form by"
            raise InvalidInput(f"'{path}' {what}", hint=f"one of {', '.join(SUFFIXES)}, or a capture's folder")


def open_rows(
    path: Path,
    signature: Signature,
    *,
    roles: Roles = DEFAULT_ROLES,
    ignore_extra: bool = False,
    labelled: bool = False,
) -> Rows:
    """The rows of the data file at ``path`` as inputs of ``signature``; ``labelled`` is as for ``open_table``.

    Raises as ``open_table``, and InvalidInput where columns are missing or unknown; values are checked when read.
    """
    text = {spec.name for spec in signature.inputs if spec.dtype is DType.STRING}
    table = open_table(path, text=text, labelled=labelled)
    if not table.columns:
        return Rows(table, signature, NO_COLUMNS, is_narrowed=False)
    mapping = map_columns(
        table.columns,
        signature,
        roles,
        form="inputs or features" if table.features_as_columns else "inputs",
        ignore_extra=ignore_extra,
        numeric=_numeric_columns(table) if ignore_extra and table.features_as_columns else (),
        where=f"'{path}'",
    )
    return Rows(table, signature, mapping, is_narrowed=ignore_extra)


class Rows:
    """A file's rows as a model's inputs, streamed; every call of ``batches`` or ``read`` reads the file anew.

    With ``is_narrowed`` only the mapped columns are read; without it a column that turns up later is an error.
    """

    def __init__(self, table: Table, signature: Signature, mapping: Mapping, *, is_narrowed: bool) -> None:
        self.path = table.path
        self.signature = signature
        self.mapping = mapping
        self._table = table
        self._is_narrowed = is_narrowed

    @cached_property
    def digest(self) -> str:
        """The sha256 address of the file's bytes; of a capture, of its files, its outcomes too if they are read."""
        if is_capture(self.path):
            from mlserve.rows.capture_file import digest_of

            return digest_of(self.path, with_outcomes="label" in self.mapping.roles)
        return digest_file(self.path)

    @property
    def total_rows(self) -> int | None:
        """How many rows there are, where the file says so before it is read."""
        return self._table.total_rows

    @property
    def unlabelled_rows(self) -> int:
        """How many rows were left out, the last time that all were read, because nobody has told their label yet."""
        return int(getattr(self._table, "unlabelled_rows", 0))

    @property
    def has_fixed_rows(self) -> bool:
        """Whether the model takes exactly so many rows in a call, so that batches cannot be cut."""
        return _fixed_rows(self.signature) is not None

    def batches(self, rows: int = 1024) -> Iterator[RowBatch]:
        """The rows in order, ``rows`` at a time, the last batch being shorter.

        A batch is also shorter where the next row has another shape or another value for an input of rank 0, and where
        it would be very large. A model whose inputs have a fixed axis 0 gets exactly as many rows as that. Raises
        InvalidInput naming the column and the row.
        """
        yield from regroup(self._pieces(rows), rows, step=_fixed_rows(self.signature), path=self.path)

    def read(self, limit: int | None = None) -> RowBatch:
        """The first ``limit`` rows, or all, as one batch; of length 0 where there are none.

        Raises InvalidInput, also where rows differ in shape.
        """
        parts: list[RowBatch] = []
        held = 0
        for batch in self.batches(min(limit, 1024) if limit else 1024):
            parts.append(batch)
            held += batch.rows
            if limit is not None and held >= limit:
                break
        if not parts or limit == 0:
            return self._none()
        whole = join(parts, self.path)
        return whole if limit is None or _fixed_rows(self.signature) else whole.first(limit)

    def _pieces(self, rows: int) -> Iterator[RowBatch]:
        only = set(self.mapping.columns) if self._is_narrowed else None
        start = 0
        for raw in self._table.batches(rows, only):
            for piece in split_scalars(self._piece(raw, start), self.signature):
                yield piece
                start += piece.rows

    def _piece(self, raw: RawBatch, start: int) -> RowBatch:
        roles = {role: raw[column] for role, column in self.mapping.roles.items()}
        if (spec := self.mapping.features_of) is not None:
            return RowBatch(start, {spec.name: self._stacked(raw, spec, start)}, roles)
        is_whole = len({len(raw[name]) for name in self.mapping.columns if raw[name].ndim}) > 1
        inputs = {
            spec.name: _fitted(raw[spec.name], spec, is_whole=is_whole, where=self._where(spec.name), start=start)
            for spec in self.signature.inputs
        }
        return RowBatch(start, inputs, roles)

    def _stacked(self, raw: RawBatch, spec: TensorSpec, start: int) -> Array:
        columns = []
        for name in self.mapping.features:
            if raw[name].ndim != 1:
                raise InvalidInput(f"{self._where(name)} holds lists, and one number is expected for each feature")
            columns.append(cast(raw[name], spec.dtype, where=self._where(name), start=start))
        return np.stack(columns, axis=1)

    def _where(self, column: str) -> str:
        return f"'{self.path}', column '{column}'"

    def _none(self) -> RowBatch:
        inputs = {}
        for spec in self.signature.inputs:
            dims = tuple(dim if isinstance(dim, int) else 0 for dim in spec.dims[1:])
            inputs[spec.name] = np.empty((0, *dims), spec.dtype.numpy)
        return RowBatch(0, inputs, {})


def _numeric_columns(table: Table) -> list[str]:
    """The columns of one number a row, as far as the first rows show."""
    first = next(iter(table.batches(64)), {})
    return [name for name, array in first.items() if array.ndim == 1 and array.dtype.kind in "biuf"]


def _fixed_rows(signature: Signature) -> int | None:
    """How many rows a call takes, where all inputs that fix it agree."""
    fixed = {spec.dims[0] for spec in signature.inputs if spec.dims and isinstance(spec.dims[0], int)}
    return next(iter(fixed)) or None if len(fixed) == 1 else None


def _fitted(array: Array, spec: TensorSpec, *, is_whole: bool, where: str, start: int) -> Array:
    """``array`` as ``spec`` takes it: rows on axis 0, or with ``is_whole`` one call's tensor as it stands."""
    if array.ndim == 1 and len(spec.dims) == 2 and spec.dims[1] == 1:
        array = array[:, np.newaxis]
    dims = spec.dims if is_whole or array.ndim == 0 else (None, *spec.dims[1:])
    if not TensorSpec(spec.name, spec.dtype, dims).accepts(array.shape):
        if is_whole:
            raise InvalidInput(f"{where} is {list(array.shape)}, which is neither as long as the others nor one call's")
        raise InvalidInput(
            f"row {start + 1} of {where} is {list(array.shape[1:])}, the model takes {list(spec.shape[1:])}"
        )
    return cast(array, spec.dtype, where=where, start=start)
