"""``.csv``: comma-separated, a header line, UTF-8; a column per input or per feature.

Everything is read as text and given a type afterwards, so that a type found in the first rows cannot refuse later ones:
a column is whole numbers until a row has a fraction, and text only if it is text from its first batch on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from mlserve.errors import InvalidInput
from mlserve.rows.tables import Array, RawBatch, first_line, require_content, require_distinct

BLOCK_BYTES = 4 << 20
"""Read at once; a row that is longer is refused."""

_Kind = Literal["number", "float", "text"]

NULLS = pa.array(["", "NA", "N/A", "#N/A", "NULL", "null", "None", "<NA>"])
"""What counts as null in a column of numbers; in a column of text only the empty field does."""


class CsvTable:
    """The columns of a CSV file; those in ``text`` stay text, even where every value looks like a number.

    Raises NotFound, InvalidInput when opened.
    """

    features_as_columns = True
    total_rows: int | None = None

    def __init__(self, path: Path, *, text: Collection[str] = ()) -> None:
        require_content(path)
        self.path = path
        self._text = frozenset(text)
        with _reading(path), _open(path, []) as reader:
            self.columns = require_distinct(path, reader.schema.names)

    def batches(self, rows: int, only: Collection[str] | None = None) -> Iterator[RawBatch]:
        names = [name for name in self.columns if only is None or name in only]
        kinds: dict[str, _Kind] = dict.fromkeys(self._text, "text")
        start = 0
        with _reading(self.path), _open(self.path, self.columns) as reader:
            for block in reader:
                for first in range(0, block.num_rows, rows):
                    part = block.slice(first, rows)
                    yield {name: self._typed(part.column(name), name, start + first, kinds) for name in names}
                start += block.num_rows

    def _typed(self, column: pa.Array, name: str, start: int, kinds: dict[str, _Kind]) -> Array:
        """``column`` with its type; ``kinds`` remembers what each column has been so far."""
        known = kinds.get(name)
        if known != "text":
            try:
                numbers = _numbers(column, as_float=known == "float")
            except pa.ArrowInvalid:
                if known:
                    raise InvalidInput(_first_text(self.path, column, name, start)) from None
                kinds[name] = "text"
            else:
                if numbers.dtype.kind == "f" and not column.null_count:
                    kinds[name] = "float"
                elif column.null_count < len(column):
                    kinds.setdefault(name, "number")
                return numbers
        values: Array = column.to_numpy(zero_copy_only=False)
        return values


def _open(path: Path, columns: Collection[str]) -> pacsv.CSVStreamingReader:
    return pacsv.open_csv(
        path,
        read_options=pacsv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"'{path}' is not a readable CSV file: {first_line(error)}") from error


def _numbers(column: pa.Array, *, as_float: bool) -> Array:
    """``column`` as int64 unless ``as_float``, else float64 (nulls are NaN), else bool. Raises ArrowInvalid."""
    try:
        return _parsed(column, as_float=as_float)
    except pa.ArrowInvalid:
        trimmed = pc.utf8_trim_whitespace(column)
        known = pc.if_else(pc.is_in(trimmed, value_set=NULLS), pa.scalar(None, pa.string()), trimmed)
        return _parsed(known, as_float=as_float)


def _parsed(column: pa.Array, *, as_float: bool) -> Array:
    kinds = [pa.float64(), pa.bool_()] if as_float or column.null_count else [pa.int64(), pa.float64(), pa.bool_()]
    for kind in kinds[:-1]:
        try:
            numbers: Array = column.cast(kind).to_numpy(zero_copy_only=False)
            return numbers
        except pa.ArrowInvalid:
            continue
    booleans: Array = column.cast(kinds[-1]).to_numpy(zero_copy_only=False)
    return booleans


def _first_text(path: Path, column: pa.Array, name: str, start: int) -> str:
    for row, value in enumerate(column):
        try:
            _numbers(pa.array([value.as_py()], pa.string()), as_float=False)
        except pa.ArrowInvalid:
            return f"'{path}' row {start + row + 1}, column '{name}': '{value}' is not a number, as the rows before are"
    return f"'{path}' from row {start + 1}, column '{name}' mixes numbers and booleans"
