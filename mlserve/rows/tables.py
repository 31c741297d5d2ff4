"""What every kind of data file looks like to the rest: named columns, read as batches of raw arrays."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mlserve.errors import InvalidInput, NotFound

Array = np.ndarray[Any, np.dtype[Any]]
RawBatch = dict[str, Array]
"""Arrays by column, rows on axis 0. Text is held as objects, a null as NaN among numbers and as None elsewhere."""

MAX_BATCH_BYTES = 128 << 20
"""A batch has fewer rows than asked for rather than more bytes than this; one row may have as many."""


class Table(Protocol):
    """A data file. ``batches`` may be called again and again, and reads the file anew each time.

    ``features_as_columns`` says whether a model's one 2-D input may be spread over columns; ``total_rows`` is None
    where only reading would tell.
    """

    @property
    def path(self) -> Path: ...

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def features_as_columns(self) -> bool: ...

    @property
    def total_rows(self) -> int | None: ...

    def batches(self, rows: int, only: Collection[str] | None = None) -> Iterator[RawBatch]:
        """The rows in order, at most ``rows`` at a time, the columns in ``only`` or all.

        All arrays of a batch are equally long, except that a 0-d array holds for every row, and that a file whose
        arrays are not rows comes as one batch as it stands. Where rows differ in shape the batch ends.
        Raises InvalidInput.
        """
        ...


def require_content(path: Path) -> None:
    """Raises NotFound where there is no file, InvalidInput where it is empty or no file."""
    if not path.exists():
        raise NotFound(f"no file '{path}'")
    if not path.is_file():
        raise InvalidInput(f"'{path}' is not a file")
    if not path.stat().st_size:
        raise InvalidInput(f"'{path}' is empty")


def require_distinct(path: Path, columns: Sequence[str]) -> tuple[str, ...]:
    """``columns`` as a tuple. Raises InvalidInput for one that comes twice."""
    twice = next((name for i, name in enumerate(columns) if name in columns[:i]), None)
    if twice is not None:
        raise InvalidInput(f"'{path}' has two columns '{twice}'")
    return tuple(columns)


def first_line(error: Exception) -> str:
    """What a library says in the first line of its message, else the name of its exception."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def rows_per_batch(rows: int, row_bytes: int) -> int:
    """How many rows of ``row_bytes`` to read at once: at most ``rows``, at least one.

    >>> rows_per_batch(1024, 4), rows_per_batch(1024, 64 << 20)
    (1024, 2)
    """
    return max(1, min(rows, MAX_BATCH_BYTES // max(row_bytes, 1)))


def align(columns: Mapping[str, Sequence[Array]]) -> Iterator[RawBatch]:
    """Batches out of columns that come in runs of equal shape: each batch ends where any column's run ends.

    >>> a, b = [np.zeros((3, 2))], [np.zeros((1, 5)), np.zeros((2, 6))]
    >>> [{name: array.shape for name, array in batch.items()} for batch in align({"a": a, "b": b})]
    [{'a': (1, 2), 'b': (1, 5)}, {'a': (2, 2), 'b': (2, 6)}]
    """
    runs = {name: iter(arrays) for name, arrays in columns.items()}
    rest: dict[str, Array] = {name: next(arrays) for name, arrays in runs.items()}
    while rest:
        length = min(len(array) for array in rest.values())
        yield {name: array[:length] for name, array in rest.items()}
        for name, array in list(rest.items()):
            remaining = array[length:] if len(array) > length else next(runs[name], None)
            if remaining is None:
                return
            rest[name] = remaining


def merge_runs(arrays: Sequence[Array]) -> list[Array]:
    """Neighbours of equal row shape joined."""
    merged: list[list[Array]] = []
    for array in arrays:
        if merged and merged[-1][0].shape[1:] == array.shape[1:]:
            merged[-1].append(array)
        else:
            merged.append([array])
    return [run[0] if len(run) == 1 else np.concatenate(run) for run in merged]
