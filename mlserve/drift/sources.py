"""Where the rows of a reference or a window come from, as blocks, again and again: a data file, or a sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np

from mlserve.drift.blocks import BLOCK_ROWS, Block
from mlserve.errors import InvalidInput
from mlserve.rows.reading import Rows
from mlserve.rows.tables import Array

SMALL_BLOCK_ROWS = 256


@dataclass(frozen=True, slots=True)
class Faults:
    """What of a source's columns is not as a profile has it: ``missing`` features, ``extra`` columns that nobody knows,
    and features ``retyped``: with what they hold where numbers are usual, or text."""

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    retyped: tuple[tuple[str, str], ...] = ()


NO_FAULTS = Faults()


class Source(Protocol):
    """Rows that can be read several times. ``names`` are those of a 2-D input's columns, where the data has them.

    ``kind`` is ``data`` or ``capture``; ``total_rows`` is None where only reading would tell; ``faults`` are all known
    when the rows were read to their end.
    """

    @property
    def faults(self) -> Faults: ...

    @property
    def kind(self) -> str: ...

    @property
    def digest(self) -> str: ...

    @property
    def names(self) -> Mapping[str, Sequence[str]]: ...

    @property
    def total_rows(self) -> int | None: ...

    def blocks(self, rows: int = BLOCK_ROWS) -> Iterator[Block]:
        """All rows in order, at most ``rows`` at a time."""
        ...


class FileSource:
    """The rows of a data file, which fits the model: a column for each input or feature, and those of roles."""

    kind = "data"
    faults = NO_FAULTS

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    @property
    def digest(self) -> str:
        return self._rows.digest

    @property
    def names(self) -> Mapping[str, Sequence[str]]:
        mapping = self._rows.mapping
        return {} if mapping.features_of is None else {mapping.features_of.name: mapping.features}

    @property
    def total_rows(self) -> int | None:
        return self._rows.total_rows

    def blocks(self, rows: int = BLOCK_ROWS) -> Iterator[Block]:
        """Raises InvalidInput naming column and row for a value that the model does not take."""
        for batch in self._rows.batches(rows):
            times = batch.roles.get("time")
            yield Block(
                batch.start,
                batch.rows,
                batch.inputs,
                labels=batch.roles.get("label"),
                times=None if times is None else as_times(times, str(self._rows.path)),
            )


def as_times(values: Array, where: str) -> Array:
    """Moments as datetime64[us] in UTC, NaT for a null: times as they are, numbers as seconds since 1970, ISO texts.

    Raises InvalidInput, naming ``where``, for text that is no time.

    >>> as_times(np.array(["2026-01-02T03:04:05", None], object), "x").astype(str).tolist()
    ['2026-01-02T03:04:05.000000', 'NaT']
    """
    if values.dtype.kind == "M":
        return values.astype("datetime64[us]")
    if values.dtype.kind in "fiu":
        seconds = values.astype(np.float64)
        known = np.isfinite(seconds)
        times = np.full(len(values), np.datetime64("NaT", "us"))
        times[known] = (seconds[known] * 1e6).astype(np.int64).astype("datetime64[us]")
        return times
    try:
        return np.array([_moment(value) for value in values.tolist()], "datetime64[us]")
    except ValueError as error:
        raise InvalidInput(f"{where}: the column of times holds what is no time", hint="ISO 8601 in UTC") from error


def _moment(value: object) -> str | datetime:
    if value is None or value != value:
        return "NaT"
    text = str(value).strip().removesuffix("Z").removesuffix("+00:00")
    if "+" not in text and "-" not in text[10:]:
        return text  # numpy reads it fifty times faster
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def block_rows(total_rows: int | None) -> int:
    """How many rows to read at once: few enough that a small reference still comes in some dozen pieces.

    >>> block_rows(None), block_rows(1000), block_rows(64_000)
    (65536, 256, 1000)
    """
    if total_rows is None:
        return BLOCK_ROWS
    return max(SMALL_BLOCK_ROWS, min(BLOCK_ROWS, total_rows // 64))
