"""What the front ends and the engine say to each other; neither imports the other.

    front end ──InferRequest, deliver──► Engine.infer ──► Ticket      (raises: not admitted, nothing will be delivered)
    front end ◄───── deliver(Answer | Exception) ────── end of the batch, on the loop's thread, exactly once

The shapes here exist for speed. A front end hands JSON numbers over as one flat list, which becomes part of one
``np.array`` a batch; an answer is a row range of a batch that its requests share, so that turning numbers into text
can be done once a batch (``BatchOutputs.flat``, ``BatchOutputs.cache``), and the constant parts of an answer once a
version (``ModelView.cache``). Structs without GC tracking never hold a reference back to what holds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from math import prod
from typing import Any, Protocol

import msgspec
import numpy as np

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature
from mlserve.serving.tallies import ModelStatistics

PLATFORM = "onnxruntime_onnx"


class InputTensor(msgspec.Struct, gc=False):
    """One input of one request.

    ``values`` is an array of ``dtype.numpy`` and ``shape``, or a flat row-major list of Python values: numbers for
    every numeric type (FP16 and BF16 too, rounded to nearest when gathered), ``bool``, or ``str`` for STRING (also
    the elements of an array of strings). No None, no nesting. The engine checks the count against ``shape``, and that
    numbers fit the type.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    values: np.ndarray[Any, Any] | list[Any]


class InferRequest(msgspec.Struct, gc=False):
    """One request. ``version`` None is what stands in production; ``outputs`` None is all, in graph order.

    ``deadline_s`` is on the clock of the loop (``loop.time()``); a request that waits past it is answered with
    DeadlineExceeded and takes no room in a batch. ``priority`` 1 is the most urgent, larger numbers are less so, and 0
    is the usual level. ``unit_key`` keeps whoever sends it in one arm of an experiment. ``id`` is what the client is
    told it is called, where somebody records requests under their ids; it may be empty elsewhere.
    ``parameters`` are all that came with it, for models that know of some; None where none did.
    """

    model: str
    version: int | None
    inputs: list[InputTensor]
    outputs: tuple[str, ...] | None = None
    deadline_s: float | None = None
    priority: int = 0
    unit_key: str | None = None
    id: bytes = b""
    parameters: Mapping[str, Any] | None = None


class ModelState(StrEnum):
    """Where a version stands, in the words of the repository index."""

    LOADING = "LOADING"
    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"
    UNLOADING = "UNLOADING"


class ModelView(msgspec.Struct):
    """What the outside may know of one loaded version. One object a load: it is replaced, never changed.

    ``versions`` are those of the same model that can be asked for explicitly, at the time of the call that gave the
    view. ``max_rows`` is what one run takes at most (1: requests run alone). ``labels`` are the class names of outputs
    that have any. ``padding`` is how exactly rows filled up to a common length are answered ("exact", "close"), or why
    none is filled up; empty where rows have no length. ``lone_session`` is how exactly a second session with all cores
    answers ("exact"), or why there is none; empty where none was looked for. ``cuda_graphs`` says whether launches on a
    GPU are captured, or why not; empty without one. ``tuned`` is what a profile of ``tune`` decided; empty where none
    did. ``cache`` is for the front ends: the constant parts of answers, kept as long as the version is.
    """

    name: str
    version: str
    versions: tuple[str, ...]
    signature: Signature
    state: ModelState
    stages: tuple[str, ...] = ()
    digest: str | None = None
    platform: str = PLATFORM
    is_batchable: bool = False
    exactness: str = "none"
    padding: str = ""
    lone_session: str = ""
    cuda_graphs: str = ""
    tuned: str = ""
    providers: tuple[str, ...] = ()
    max_rows: int = 1
    labels: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    cache: dict[Any, Any] = msgspec.field(default_factory=dict)


class ModelStatus(msgspec.Struct, gc=False):
    """A line of the repository's index: a version that is loaded, loading or could not be loaded, and why."""

    name: str
    version: str | None
    state: ModelState
    reason: str = ""


class RunTiming(msgspec.Struct, gc=False):
    """When one run happened: taken from the queue, inputs gathered, model run; seconds of ``time.monotonic()``.

    The same clock as the loop's. For one request, what lies between its arrival and ``taken_s`` is its time in queue.
    """

    taken_s: float
    gathered_s: float
    ran_s: float
    rows: int
    requests: int


class BatchOutputs:
    """The outputs of one run, shared by the answers of all requests that were in it.

    ``arrays`` are in graph order; where ``is_sliced``, axis 0 of each is ``rows``, and each answer is a row range.
    ``cache`` is for the front ends' own work on the whole batch, keyed as they like; it dies with the batch.
    ``timing`` is None where nothing was run for it, and so are ``inputs``, the rows that were run. Where rows were
    filled up to a common length, ``lengths`` has that of each request's rows before, in order, and ``own_axes`` the
    axes that are cut back to it, by output.
    """

    __slots__ = ("_flat", "arrays", "cache", "inputs", "is_sliced", "lengths", "own_axes", "rows", "timing", "view")

    def __init__(self, view: ModelView, arrays: dict[str, np.ndarray[Any, Any]], rows: int, *, is_sliced: bool) -> None:
        self.view = view
        self.arrays = arrays
        self.rows = rows
        self.is_sliced = is_sliced
        self.timing: RunTiming | None = None
        self.inputs: dict[str, np.ndarray[Any, Any]] | None = None
        self.lengths: Sequence[int] | None = None
        self.own_axes: Mapping[str, tuple[int, ...]] = {}
        self.cache: dict[Any, Any] = {}
        self._flat: dict[str, list[Any]] = {}

    def flat(self, name: str) -> list[Any]:
        """The whole output as flat Python values, row-major, made once: floats, ints, bools or ``str``."""
        flat = self._flat.get(name)
        if flat is None:
            array = self.arrays[name]
            if array.dtype.kind == "V":
                # ml_dtypes scalars are no Python numbers; float32 holds every one of these types exactly.
                array = array.astype(np.float32)
            flat = self._flat[name] = array.ravel().tolist()
        return flat


class AnswerTensor(msgspec.Struct, gc=False):
    """One output of one answer: rows ``start`` to ``stop`` of a batch's output, or the whole of it (``stop`` None).

    ``length`` is what its rows are cut back to, None where the batch has them as they are.
    """

    name: str
    dtype: DType
    batch: BatchOutputs
    start: int
    stop: int | None
    length: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        if self.length is not None:
            return self.array().shape
        whole = self.batch.arrays[self.name].shape
        return whole if self.stop is None else (self.stop - self.start, *whole[1:])

    def array(self) -> np.ndarray[Any, Any]:
        """This request's part, a view into the batch's array."""
        array = self.batch.arrays[self.name]
        if self.length is None:
            return array if self.stop is None else array[self.start : self.stop]
        own = [slice(self.start, self.stop), *[slice(None)] * (array.ndim - 1)]
        for at in self.batch.own_axes[self.name]:
            own[at] = slice(self.length)
        return array[tuple(own)]

    def flat(self) -> list[Any]:
        """This request's part as flat Python values, a slice of the list that the batch shares where nothing is cut."""
        if self.length is not None:
            array = self.array()
            flat: list[Any] = (array.astype(np.float32) if array.dtype.kind == "V" else array).ravel().tolist()
            return flat
        shared = self.batch.flat(self.name)
        if self.stop is None:
            return shared
        width = prod(self.batch.arrays[self.name].shape[1:])
        return shared[self.start * width : self.stop * width]


class Answer(msgspec.Struct, gc=False):
    """One request's answer: rows ``start`` to ``stop`` of ``batch``, or the whole of it (``stop`` None).

    ``names`` are the outputs asked for, in the order asked; None is all of them in graph order. ``length`` is what rows
    are cut back to in outputs that are as long as them; None where nothing is.
    """

    batch: BatchOutputs
    start: int
    stop: int | None
    names: tuple[str, ...] | None = None
    length: int | None = None

    @property
    def model(self) -> str:
        return self.batch.view.name

    @property
    def version(self) -> str:
        return self.batch.view.version

    @property
    def outputs(self) -> list[AnswerTensor]:
        specs = self.batch.view.signature.outputs
        if self.names is not None:
            by_name = {spec.name: spec for spec in specs}
            specs = tuple(by_name[name] for name in self.names)
        if self.length is None:
            return [AnswerTensor(spec.name, spec.dtype, self.batch, self.start, self.stop) for spec in specs]
        own = self.batch.own_axes
        return [
            AnswerTensor(
                spec.name, spec.dtype, self.batch, self.start, self.stop, self.length if spec.name in own else None
            )
            for spec in specs
        ]


Deliver = Callable[[Answer | Exception], None]
"""Takes the one answer of a request. An MlserveError is for the client; any other exception is a bug of ours."""


class Ticket(Protocol):
    """A request that was admitted."""

    def cancel(self) -> None:
        """Forget the request: nothing will be delivered, and if it still waits, it takes no room in a batch."""


class Engine(Protocol):
    """Answers requests. Everything is called on the loop's thread."""

    def infer(self, request: InferRequest, deliver: Deliver) -> Ticket:
        """Admit ``request``; ``deliver`` is called once, later, never from within this call.

        Raises NotFound (model or version), Unavailable (known, not ready), Overloaded (queue full), InvalidInput
        (tensors that do not fit the signature); then nothing is delivered.
        """

    def stream(self, request: InferRequest, deliver: Deliver, end: Callable[[Exception | None], None]) -> Ticket:
        """Admit ``request`` for an answer in parts: ``deliver`` is called for each, then ``end`` once, with None or why
        it ended early. Neither is called from within this call. Raises as ``infer``.

        A model that computes its answer at once gives one part; a runner of language models gives one a token or so.
        """

    def view(self, model: str, version: int | None = None) -> ModelView:
        """The loaded version that a request would get. Raises NotFound, or Unavailable while it is not ready."""

    def expect(self, model: str, version: int | None = None) -> ModelView:
        """``view`` for a request for inference that is here, and is to be decoded by what it says.

        Raises as ``view``, and Overloaded where it would be answered too late whatever is in it: decoding it, only to
        refuse it then, would cost about as much as the answer.
        """

    def models(self) -> Sequence[ModelStatus]:
        """Every version that is loaded, loading or failed, and names that have none yet; by name and version."""

    def statistics(self, model: str | None = None, version: int | None = None) -> Sequence[ModelStatistics]:
        """What each loaded version has done, by name and version; of one model, or one version of it.

        Raises NotFound for a model or version that is not known.
        """

    async def load(self, model: str, versions: Sequence[int] | None = None) -> None:
        """Load ``versions`` of ``model`` beside what is loaded, or (None) what stands in its stages, again if need be.

        Returns when they answer. Raises NotFound, Unsupported where there is nothing to load from, and the reason why a
        version cannot be loaded; what was loaded before goes on answering.
        """

    async def unload(self, model: str) -> None:
        """Let every version of ``model`` finish what it has and go; it is not ready until it is loaded again.

        Returns when the last request is answered. Raises NotFound.
        """

    def is_live(self) -> bool:
        """Whether the process can answer at all."""

    def is_ready(self, model: str | None = None, version: int | None = None) -> bool:
        """Whether everything named at start is loaded and warm (and no shutdown has begun), or whether one model is.

        Raises NotFound for a model or version that is not known.
        """


class Whole(Protocol):
    """What a server of several processes tells and does as one; each method as ``Engine``'s of the same name.

    Raises beyond those Unavailable for a process that does not do its part.
    """

    async def models(self) -> Sequence[ModelStatus]:
        """Every version; READY is what is so in each process."""

    async def statistics(self, model: str | None = None, version: int | None = None) -> Sequence[ModelStatistics]:
        """The sums over all processes."""

    async def load(self, model: str, versions: Sequence[int] | None = None) -> None:
        """Load in every process, and return when all have it."""

    async def unload(self, model: str) -> None:
        """Unload in every process."""
