"""A data file as a window: read however it is, so that what is wrong with its columns is found and not refused.

The reference must fit the model. A window may lack a column, have one of another type, or one more: that is what a
check is for. Where all of an input's columns are there and are numbers, the model can be asked about its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mlserve.compare.kinds import kind_of
from mlserve.core.digests import digest_file
from mlserve.core.dtypes import DType
from mlserve.drift.blocks import BLOCK_ROWS, Block
from mlserve.drift.columns import split, stack
from mlserve.drift.schema import DriftSchema, Feature
from mlserve.drift.sources import Faults, as_times
from mlserve.rows.reading import open_table
from mlserve.rows.tables import Array, RawBatch

_SAID = {"float": "numbers", "integer": "numbers", "text": "text", "complex": "complex numbers", "other": "times"}


class FileWindow:
    """The rows of the data file at ``path``, as far as they are features of ``schema``.

    Which columns are missing or unknown is known at once, which hold text for numbers or the reverse as rows are read.
    Raises NotFound, and InvalidInput for a file that cannot be read at all.
    """

    kind = "data"
    names: Mapping[str, Sequence[str]]

    def __init__(self, path: Path, schema: DriftSchema) -> None:
        every = (*schema.features, *schema.ignored)
        self.path = path
        self.names = schema.names
        self._retyped: dict[str, str] = {}
        self._schema = schema
        text = {one.name for one in every if one.datatype is DType.STRING}
        self._table = open_table(path, text=text)
        roles = {schema.label, schema.time, schema.key, schema.group}
        columns = [name for name in self._table.columns if name not in roles]
        self._column = _placed(schema, columns)
        self._missing = tuple(
            one.name for one in schema.features if one.input not in columns and one.name not in self._column
        )
        used = {one.input for one in every} | set(self._column.values())
        self._extra = tuple(name for name in columns if name not in used)

    @property
    def faults(self) -> Faults:
        return Faults(self._missing, self._extra, tuple(self._retyped.items()))

    @property
    def digest(self) -> str:
        return digest_file(self.path)

    @property
    def total_rows(self) -> int | None:
        return self._table.total_rows

    def blocks(self, rows: int = BLOCK_ROWS) -> Iterator[Block]:
        """Raises InvalidInput for a file that is cut short or damaged."""
        start = 0
        for raw in self._table.batches(rows):
            count = max((len(array) for array in raw.values() if array.ndim), default=0)
            if not count:
                continue
            yield self._block(raw, start, count)
            start += count

    def _block(self, raw: RawBatch, start: int, count: int) -> Block:
        schema = self._schema
        inputs: dict[str, Array] = {}
        columns: dict[str, Array] = {}
        for feature in (*schema.features, *schema.ignored):
            if (column := self._column.get(feature.name)) is not None:
                columns[feature.name] = self._typed(feature, raw[column])
            elif feature.input in raw and feature.input not in inputs and len(np.shape(raw[feature.input])):
                inputs[feature.input] = self._typed(feature, raw[feature.input])
        for name in schema.names:
            if name not in inputs and (whole := stack(schema, _numbers(columns), name)) is not None:
                inputs[name] = whole
        known = split(schema, inputs)
        watched = {one.name for one in schema.features}
        times = raw.get(schema.time)
        return Block(
            start,
            count,
            inputs,
            labels=raw.get(schema.label),
            times=None if times is None else as_times(times, str(self.path)),
            columns={name: values for name, values in columns.items() if name in watched and name not in known},
            can_run=not self._retyped and all(one.input in inputs for one in (*schema.features, *schema.ignored)),
        )

    def _typed(self, feature: Feature, values: Array) -> Array:
        """``values`` in the type that the reference was counted in; as they are where they are of another kind."""
        is_text = feature.datatype is DType.STRING
        kind = kind_of(values.dtype)
        if values.dtype.kind == "O" and not is_text and all(v is None or isinstance(v, bool) for v in values.ravel()):
            values = np.array([np.nan if v is None else float(v) for v in values.ravel()]).reshape(values.shape)
            kind = "float"
        if is_text != (kind == "text") and not (is_text and _is_null(values)):
            self._retyped.setdefault(feature.name, _SAID[kind])
            return values
        if is_text or values.dtype.kind not in "fiub":
            return values
        wanted = feature.datatype.numpy
        if wanted.kind == "f" and wanted.isbuiltin:
            with np.errstate(over="ignore"):
                return values.astype(wanted)
        return values


def _placed(schema: DriftSchema, columns: Sequence[str]) -> dict[str, str]:
    """The file's column for each feature that has one by itself: by name, else all of an input's in order."""
    found: dict[str, str] = {}
    for one in (*schema.features, *schema.ignored):
        if one.name in columns and one.input not in columns:
            found[one.name] = one.name
    for name, features in schema.names.items():
        rest = [column for column in columns if column not in found.values()]
        if name not in columns and not any(feature in found for feature in features) and len(rest) == len(features):
            found |= dict(zip(features, rest, strict=True))
    return found


def _numbers(columns: Mapping[str, Array]) -> dict[str, Array]:
    return {name: values for name, values in columns.items() if values.dtype.kind in "fiub" and values.ndim == 1}


def _is_null(values: Array) -> bool:
    """A column without any value has no type of its own."""
    return values.dtype.kind == "f" and bool(np.isnan(values).all())
