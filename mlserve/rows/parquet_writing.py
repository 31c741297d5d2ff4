"""A Parquet file written some rows at a time, of more rows than memory holds; whole at its end or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlserve.core.files import replacing
from mlserve.errors import InvalidInput
from mlserve.rows.tables import Array
from mlserve.rows.writing import as_arrow, as_plain


class ParquetRows:
    """A context in which rows are added; ``path`` is there when it ends well, and untouched when it does not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()
        self._partial: Path | None = None
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._partial = stack.enter_context(replacing(self._path))
            stack.callback(self._close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._writer is None:
            self.add({})
        self._stack.__exit__(kind, error, trace)

    def add(self, columns: Mapping[str, Array]) -> None:
        """Rows on axis 0 of every column; the first call says which columns there are, and of what type.

        A column that a later call lacks is null there. Masked values are nulls. Raises InvalidInput for a column that
        is new or of another type than before, and for a disk that is full.
        """
        arrays = {name: _column(name, values) for name, values in columns.items()}
        rows = max(map(len, arrays.values()), default=0)
        if self._writer is None:
            assert self._partial is not None, "rows are added inside the block"
            schema = pa.schema([(name, _settled(values.type)) for name, values in arrays.items()])
            self._writer = pq.ParquetWriter(self._partial, schema, compression="zstd")
        schema = self._writer.schema
        if unknown := [name for name in arrays if name not in schema.names]:
            raise InvalidInput(f"'{self._path}': column '{unknown[0]}' begins in the middle of the rows")
        try:
            cast = [
                arrays[field.name].cast(field.type) if field.name in arrays else pa.nulls(rows, field.type)
                for field in schema
            ]
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InvalidInput(f"'{self._path}': a column changes its type in the middle of the rows") from error
        self._writer.write_table(pa.Table.from_arrays(cast, schema=schema))

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _column(name: str, values: Array) -> pa.Array:
    if values.ndim != 1:
        return as_arrow(name, as_plain(np.asarray(values)))
    mask = np.array(values.mask) | np.zeros(len(values), bool) if isinstance(values, np.ma.MaskedArray) else None
    plain = np.asarray(values)
    if plain.dtype.kind == "M":
        missing = np.isnat(plain) if mask is None else np.isnat(plain) | mask
        return pa.array(plain.astype("datetime64[us]"), pa.timestamp("us", "UTC"), mask=missing)
    if plain.dtype.kind == "O":
        return _objects([None if mask is not None and mask[i] else value for i, value in enumerate(plain.tolist())])
    return as_arrow(name, as_plain(plain)) if mask is None else pa.array(plain, mask=mask)


def _objects(values: list[Any]) -> pa.Array:
    """Text, or numbers that came with None among them."""
    known = [value for value in values if value is not None]
    if not known:
        return pa.nulls(len(values))
    if all(isinstance(value, (int, float)) for value in known):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _settled(kind: pa.DataType) -> pa.DataType:
    """A column that begins with nulls alone is one of numbers, as labels are."""
    return pa.float64() if pa.types.is_null(kind) else kind
