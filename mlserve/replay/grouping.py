"""Which rows are ranked together, whatever requests they came in: by the values of an input, such as a query's id."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from mlserve.compare.kinds import kind_of
from mlserve.compare.pairs import Array
from mlserve.errors import InvalidInput, UsageError
from mlserve.rows.captured import CapturedBatch

Groups = Callable[[CapturedBatch], Array | None]
"""(rows,) of a value a row, rows of equal values are ranked together; None of requests that are no rows."""

_COLUMN = re.compile(r"(?P<name>.+)\[(?P<at>\d+)\]")


def groups_by(name: str, inputs: Iterable[str]) -> Groups:
    """The groups that the input ``name`` says, one value a row, or a column of one: ``features[3]``.

    ``inputs`` are those there are. Raises UsageError where ``name`` is none of them. What is returned raises
    InvalidInput where the tensor is not there, has no such column, or more than one value a row.

    >>> groups_by("qid", ["x"])
    Traceback (most recent call last):
        ...
    mlserve.errors.UsageError: no input 'qid' was captured to group by
    """
    known = sorted(inputs)
    match = None if name in known else _COLUMN.fullmatch(name)
    tensor, column = (name, None) if match is None else (match["name"], int(match["at"]))
    if tensor not in known:
        raise UsageError(f"no input '{tensor}' was captured to group by", hint=f"--group one of {', '.join(known)}")

    def groups(batch: CapturedBatch) -> Array | None:
        array = batch.inputs.get(tensor)
        if array is None:
            raise InvalidInput(f"version {batch.version} was asked without '{tensor}'", hint="--of N, another version")
        if not batch.has_rows:
            return None
        if kind_of(array.dtype) not in ("float", "integer", "text"):
            raise InvalidInput(f"input '{tensor}' is {array.dtype}, which is nothing to group by")
        values = array.reshape(len(array), -1) if array.size else array.reshape(len(array), 0)
        if column is None and values.shape[1] != 1:
            raise InvalidInput(
                f"input '{tensor}' has {values.shape[1]} values a row, and a group is one",
                hint=f"--group '{tensor}[0]'",
            )
        if column is not None and column >= values.shape[1]:
            raise InvalidInput(f"input '{tensor}' has {values.shape[1]} values a row, and no [{column}]")
        return values[:, column or 0]

    return groups
