"""A request larger than a run should be: cut into pieces that lanes run side by side, and one answer made of theirs.

Few pieces wait at a time, one for each lane; the next goes to the back of the queue when one is answered. So requests
that came later need not wait for all of a large one.
"""

from __future__ import annotations

from asyncio import TimerHandle
from collections.abc import Callable, Iterator
from functools import partial
from math import prod

import msgspec
import numpy as np

from mlserve.errors import InvalidInput
from mlserve.serving.batching import RowQueue, Waiting, pieces
from mlserve.serving.seam import Answer, BatchOutputs, Deliver, InferRequest, InputTensor, Ticket

Make = Callable[[InferRequest, int], Waiting]
Send = Callable[[Waiting, int], None]


class Whole:
    """The ticket of a request in pieces, which waits in ``queue`` by and by.

    ``make`` makes a piece of some rows; ``send`` lets one wait, told how many were sent before it. The piece whose
    answer is the last stands for the request wherever requests are counted; others are none. ``moved`` is the ticket
    that took over, where the request went to another version.
    """

    __slots__ = (
        "_answers",
        "_deliver",
        "_later_rows",
        "_left",
        "_next",
        "_queue",
        "_send",
        "_under_way",
        "arrived_s",
        "moved",
        "rows",
        "timer",
    )

    def __init__(self, waiting: Waiting, queue: RowQueue, max_rows: int, make: Make, send: Send) -> None:
        ranges = pieces(waiting.rows, max_rows)
        self.rows = waiting.rows
        self.arrived_s = waiting.arrived_s
        self.timer: TimerHandle | None = None
        self.moved: Ticket | None = None
        self._deliver = waiting.deliver
        self._queue = queue
        self._send = send
        self._later_rows = self.rows
        queue.later_rows += self.rows
        queue.wholes += 1
        self._left = len(ranges)
        self._answers: list[Answer | None] = [None] * len(ranges)
        self._under_way: dict[int, Waiting] = {}
        self._next: Iterator[tuple[int, Waiting]] = self._pieces(waiting.request, ranges, make)

    def start(self, count: int) -> None:
        """Send the first ``count`` pieces."""
        for _ in range(count):
            self._send_next()

    def cancel(self) -> None:
        self.end()
        if self.moved is not None:
            self.moved.cancel()

    def end(self) -> Deliver | None:
        """Who is to be told, the first time; no piece of it waits from then on, and no other is sent."""
        deliver, self._deliver = self._deliver, None
        if deliver is not None:
            self._queue.wholes -= 1
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self._next = iter(())
        self._queue.later_rows -= self._later_rows
        self._later_rows = 0
        under_way, self._under_way = self._under_way, {}
        for piece in under_way.values():
            piece.end()
        return deliver

    def _pieces(
        self, request: InferRequest, ranges: list[tuple[int, int]], make: Make
    ) -> Iterator[tuple[int, Waiting]]:
        for number, (start, stop) in enumerate(ranges):
            piece = make(rows_of(request, start, stop), stop - start)
            piece.first_row = start
            piece.is_piece = True
            piece.deliver = partial(self._take, number)
            yield number, piece

    def _send_next(self) -> None:
        number, piece = next(self._next, (0, None))
        if piece is not None:
            self._under_way[number] = piece
            self._queue.later_rows -= piece.rows
            self._later_rows -= piece.rows
            self._send(piece, number)

    def _take(self, number: int, answer: Answer | Exception) -> None:
        piece = self._under_way.pop(number)
        if isinstance(answer, Exception):
            piece.is_piece = False
            self._tell(answer)
            return
        self._answers[number] = answer
        self._left -= 1
        if self._left:
            self._send_next()
            return
        piece.is_piece = False
        try:
            whole: Answer | Exception = _joined([one for one in self._answers if one is not None], self.rows)
        except InvalidInput as error:
            whole = error
        self._tell(whole)

    def _tell(self, answer: Answer | Exception) -> None:
        deliver = self.end()
        if deliver is not None:
            deliver(answer)


def rows_of(request: InferRequest, start: int, stop: int) -> InferRequest:
    """The same request of rows ``start`` to ``stop`` only; every input has its rows on axis 0."""
    inputs = []
    for tensor in request.inputs:
        width = prod(tensor.shape[1:])
        values = tensor.values
        part = values[start * width : stop * width] if isinstance(values, list) else values[start:stop]
        inputs.append(InputTensor(tensor.name, tensor.dtype, (stop - start, *tensor.shape[1:]), part))
    return msgspec.structs.replace(request, inputs=inputs)


def _joined(answers: list[Answer], rows: int) -> Answer:
    first = answers[0]
    parts = [[output.array() for output in answer.outputs] for answer in answers]
    try:
        arrays = {
            output.name: np.concatenate([part[number] for part in parts]) for number, output in enumerate(first.outputs)
        }
    except ValueError as error:
        raise InvalidInput(f"the model gives answers of unequal shape for parts of the {rows} rows") from error
    is_sliced = all([array.shape[:1] == (rows,) for array in arrays.values()])
    batch = BatchOutputs(first.batch.view, arrays, rows, is_sliced=is_sliced)
    batch.timing = answers[-1].batch.timing
    return Answer(batch, 0, rows if is_sliced else None, first.names)
