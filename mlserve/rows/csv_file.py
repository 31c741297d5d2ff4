"""``.csv``: comma-separated, a header line, UTF-8; a column per input or per feature.

Everything is read as text and given a type afterwards, so that a type found in the first rows cannot refuse later ones:
a column is whole numbers until a row has a fraction, and text only if it is text from its first batch on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from mlserve.errors import InvalidInput
from mlserve.rows.tables import Array, RawBatch, first_line, require_content, require_distinct

BLOCK_BYTES = 4 << 20
"""Read at once; a row that is longer is refused."""

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
        as_text = set(self._text)
        as_numbers: set[str] = set()
        start = 0
        with _reading(self.path), _open(self.path, self.columns) as reader:
            for block in reader:
                for first in range(0, block.num_rows, rows):
                    part = block.slice(first, rows)
                    yield {n: self._typed(part.column(n), n, start + first, as_text, as_numbers) for n in names}
                start += block.num_rows

    def _typed(self, column: pa.Array, name: str, start: int, as_text: set[str], as_numbers: set[str]) -> Array:
        """``column`` with its type; the two sets remember which columns have been what so far."""
        if name not in as_text:
            try:
                numbers = _numbers(column)
            except pa.ArrowInvalid:
                if name in as_numbers:
                    raise InvalidInput(_first_text(self.path, column, name, start)) from None
                as_text.add(name)
            else:
                if column.null_count < len(column):
                    as_numbers.add(name)
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


def _numbers(column: pa.Array) -> Array:
    """``column`` as int64, else float64 (nulls are NaN), else bool. Raises ArrowInvalid where it is neither."""
    trimmed = pc.utf8_trim_whitespace(column)
    known = pc.if_else(pc.is_in(trimmed, value_set=NULLS), pa.scalar(None, pa.string()), trimmed)
    if known.null_count == len(known):
        return np.full(len(known), np.nan)
    if not known.null_count:
        try:
            whole: Array = known.cast(pa.int64()).to_numpy(zero_copy_only=False)
            return whole
        except pa.ArrowInvalid:
            pass
    try:
        numbers: Array = known.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        numbers = known.cast(pa.bool_()).to_numpy(zero_copy_only=False)
    return numbers


def _first_text(path: Path, column: pa.Array, name: str, start: int) -> str:
    for row, value in enumerate(column):
        try:
            _numbers(pa.array([value.as_py()], pa.string()))
        except pa.ArrowInvalid:
            return f"'{path}' row {start + row + 1}, column '{name}': '{value}' is not a number, as the rows before are"
    return f"'{path}' from row {start + 1}, column '{name}' mixes numbers and booleans"
