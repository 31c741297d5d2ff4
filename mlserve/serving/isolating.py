"""A batch that fails: who in it is to blame, and how the others are answered all the same, in few runs.

    gather each alone ─► those whose values do not fit are out, without a run
    halves            ─► where one half is fine the other is to blame, and is not run again before it is halved

For one bad request among n that is about log2(n) runs more, of about n rows together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from mlserve.errors import InvalidInput
from mlserve.serving.batching import Waiting
from mlserve.serving.seam import InferRequest
from mlserve.serving.splitting import rows_of

T = TypeVar("T")
Batch = Sequence[Waiting]


def run_isolated(
    batch: Batch, run: Callable[[Batch], T], check: Callable[[InferRequest], object]
) -> list[tuple[Batch, T | Exception]]:
    """What ``run`` makes of ``batch``, or of parts of it that do not fail, and the errors of the requests that do.

    ``check`` raises for a request that cannot even be gathered.
    """
    try:
        return [(batch, run(batch))]
    except Exception as error:
        if len(batch) == 1:
            return [(batch, _blamed(batch[0], error, run))]
    refused: list[tuple[Batch, T | Exception]] = []
    good: list[Waiting] = []
    for waiting in batch:
        try:
            check(waiting.request)
        except Exception as error:
            refused.append(([waiting], _blamed(waiting, error, lambda part: check(part[0].request))))
        else:
            good.append(waiting)
    if not refused:
        return _halved(batch, run)
    return [*refused, *(run_isolated(good, run, check) if good else ())]


def _halved(batch: Batch, run: Callable[[Batch], T]) -> list[tuple[Batch, T | Exception]]:
    """The same for a batch that is known to fail as a whole."""
    if len(batch) == 1:
        return _tried(batch, run)[0]
    middle = len(batch) // 2
    first, is_first_good = _tried(batch[:middle], run)
    if is_first_good:
        return [*first, *_halved(batch[middle:], run)]
    return [*first, *_tried(batch[middle:], run)[0]]


def _tried(batch: Batch, run: Callable[[Batch], T]) -> tuple[list[tuple[Batch, T | Exception]], bool]:
    try:
        return [(batch, run(batch))], True
    except Exception as error:
        if len(batch) == 1:
            return [(batch, _blamed(batch[0], error, run))], False
        return _halved(batch, run), False


def _blamed(waiting: Waiting, error: Exception, run: Callable[[Batch], object]) -> Exception:
    """``error``, with the row that it comes from where one row of several fails by itself."""
    if not isinstance(error, InvalidInput) or waiting.key is None or waiting.rows < 2:
        return _placed(error, waiting.first_row) if waiting.is_piece else error
    start, stop = 0, waiting.rows
    while stop - start > 1:
        middle = (start + stop) // 2
        if _fails(waiting, start, middle, run) is None:
            start = middle
        else:
            stop = middle
    found = _fails(waiting, start, stop, run)
    return _placed(found, waiting.first_row + start) if found is not None else error


def _fails(waiting: Waiting, start: int, stop: int, run: Callable[[Batch], object]) -> InvalidInput | None:
    part = Waiting(rows_of(waiting.request, start, stop), None, stop - start, waiting.key, waiting.arrived_s)
    try:
        run([part])
    except InvalidInput as error:
        return error
    return None


def _placed(error: Exception, row: int) -> Exception:
    if not isinstance(error, InvalidInput):
        return error
    return type(error)(f"row {row}: {error.message}", hint=error.hint)
