"""A model loaded in this process as the server loads it, and load for its batching engine: no sockets, no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlserve.bench.calls import run_calls
from mlserve.bench.clients import RIGHT
from mlserve.bench.messages import ATOL, RTOL
from mlserve.bench.outcomes import WRONG, Outcome
from mlserve.core.tensors import Signature
from mlserve.errors import InvalidInput, MlserveError

if TYPE_CHECKING:
    from mlserve.bench.stretches import Stretch
    from mlserve.core.settings import ServeSettings
    from mlserve.runtime.tuned import TunedProfile
    from mlserve.serving.engine import BatchingEngine
    from mlserve.serving.loaded import Loaded
    from mlserve.serving.seam import Answer, InferRequest

Arrays = dict[str, np.ndarray[Any, Any]]
NAME = "model"


class CallDriver:
    """A model and its engine, on an event loop of their own that runs only while there is load."""

    def __init__(self, runner: asyncio.Runner, engine: BatchingEngine, loaded: Loaded) -> None:
        self.runner = runner
        self.engine = engine
        self.loaded = loaded
        self.signature = loaded.view.signature
        self._requests: list[InferRequest] = []
        self._expected: list[list[np.ndarray[Any, Any]]] = []

    def learn(self, inputs: Sequence[Arrays]) -> None:
        """Take ``inputs`` for the requests, with the answers that each gets alone. Raises what the model refuses."""
        self._requests = [_request(self.signature, arrays) for arrays in inputs]
        self._expected = [self.runner.run(self._alone(request)) for request in self._requests]

    def run(self, stretch: Stretch, on_turn: Callable[[], None]) -> Outcome:
        return self.runner.run(run_calls(self._ask, stretch, on_turn))

    def ceiling(self, stretch: Stretch) -> Outcome:
        loop = self.runner.get_loop()
        return self.runner.run(run_calls(lambda number, done: _soon(loop, done, RIGHT), stretch))

    def _ask(self, number: int, done: Callable[[str], None]) -> None:
        at = number % len(self._requests)
        expected = self._expected[at]

        def deliver(answer: Answer | Exception) -> None:
            if isinstance(answer, Exception):
                done(_kind(answer))
            else:
                done(RIGHT if _is_right(answer, expected) else WRONG)

        try:
            self.engine.infer(self._requests[at], deliver)
        except MlserveError as error:
            _soon(self.runner.get_loop(), done, _kind(error))

    async def _alone(self, request: InferRequest) -> list[np.ndarray[Any, Any]]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def deliver(answer: Answer | Exception) -> None:
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        self.engine.infer(request, deliver)
        return [output.array().copy() for output in (await future).outputs]


@contextmanager
def calling(path: Path, settings: ServeSettings, profiles: Sequence[TunedProfile] = ()) -> Iterator[CallDriver]:
    """The model at ``path``, tuned as ``profiles`` say, behind an engine with these settings.

    Raises as ``load_model``.
    """
    from mlserve.runtime.threads import usable_cores
    from mlserve.serving.engine import BatchingEngine
    from mlserve.serving.lanes import Lanes
    from mlserve.serving.loading import Fetched, Wanted, load_version
    from mlserve.serving.options import options_of
    from mlserve.serving.repository import Repository

    options = options_of(settings, usable_cores())
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        loop = runner.get_loop()
        lanes = Lanes(options.threads.lanes, loop)
        lanes.start()
        try:
            # No digest: it is known by its path, as any file is.
            fetched = Fetched(path, profiles=profiles)
            wanted = Wanted(NAME, 1, ("production",), None, lambda: fetched)
            repository = Repository([NAME], partial(load_version, options=options), on_event=lambda event: None)
            runner.run(repository.apply([wanted]))
            if repository.failures:
                raise repository.failures[0].error
            engine = BatchingEngine(
                repository,
                lanes,
                loop,
                max_queue_rows=settings.max_queue_rows,
                max_delay_s=(settings.max_delay_ms or 0.0) / 1e3,
            )
            yield CallDriver(runner, engine, repository.find(NAME, None))
        finally:
            lanes.close(timeout_s=1.0)


def _request(signature: Signature, arrays: Arrays) -> InferRequest:
    from mlserve.serving.seam import InferRequest, InputTensor

    missing = next((spec.name for spec in signature.inputs if spec.name not in arrays), None)
    if missing is not None:
        raise InvalidInput(f"the rows have no input '{missing}'")
    tensors = [
        InputTensor(spec.name, spec.dtype, arrays[spec.name].shape, arrays[spec.name]) for spec in signature.inputs
    ]
    return InferRequest(NAME, None, tensors)


def _is_right(answer: Answer, expected: list[np.ndarray[Any, Any]]) -> bool:
    outputs = answer.outputs
    for output, array in zip(outputs, expected, strict=True):
        found = output.array()
        if found.shape != array.shape:
            return False
        if found.dtype == object:
            if found.tolist() != array.tolist():
                return False
        elif found.tobytes() != array.tobytes() and not _is_close(found, array):
            return False
    return True


def _is_close(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> bool:
    if found.dtype.kind not in "fV":
        return False
    one, other = found.astype(np.float64), expected.astype(np.float64)
    return bool(np.allclose(one, other, rtol=RTOL, atol=ATOL, equal_nan=True))


def _kind(error: Exception) -> str:
    return f"status {error.http_status}" if isinstance(error, MlserveError) else type(error).__name__


def _soon(loop: asyncio.AbstractEventLoop, done: Callable[[str], None], verdict: str) -> None:
    loop.call_soon(done, verdict)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:  # not made for Windows
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
