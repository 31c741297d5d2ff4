"""An engine without ONNX: it speaks the seam, and its models are Python functions. For the front ends' tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import MlserveError, NotFound, Unavailable
from mlserve.serving.seam import (
    Answer,
    BatchOutputs,
    Deliver,
    InferRequest,
    InputTensor,
    ModelState,
    ModelStatus,
    ModelView,
    RunTiming,
)
from mlserve.serving.tallies import ModelStatistics

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass
class FakeModel:
    """A version: its view, and what it makes of the inputs of one request."""

    view: ModelView
    run: Callable[[Arrays], Arrays]


@dataclass
class FakeTicket:
    request: InferRequest
    deliver: Deliver | None

    def cancel(self) -> None:
        self.deliver = None


@dataclass
class FakeEngine:
    """Answers at the end of the tick; or, while it is ``held``, when it is told to ``release``.

    Without a running loop, ``soon`` collects what to do and ``release`` does it.
    """

    models_by_key: dict[tuple[str, int | None], FakeModel] = field(default_factory=dict)
    held: bool = False
    ready: bool = True
    live: bool = True
    refuse: MlserveError | Exception | None = None
    too_late: MlserveError | None = None
    tickets: list[FakeTicket] = field(default_factory=list)
    statuses: list[ModelStatus] = field(default_factory=list)
    counted: list[ModelStatistics] = field(default_factory=list)
    loads: list[tuple[str, Sequence[int] | None]] = field(default_factory=list)
    unloads: list[str] = field(default_factory=list)
    timing: RunTiming | None = None
    parts: int = 1
    breaks: Exception | None = None
    cancelled: int = 0
    answered: list[InferRequest] = field(default_factory=list)

    def add(self, model: FakeModel) -> FakeModel:
        self.models_by_key[model.view.name, None] = model
        self.models_by_key[model.view.name, int(model.view.version)] = model
        self.statuses.append(ModelStatus(model.view.name, model.view.version, ModelState.READY))
        return model

    def infer(self, request: InferRequest, deliver: Deliver) -> FakeTicket:
        if self.refuse is not None:
            raise self.refuse
        self._find(request.model, request.version)
        ticket = FakeTicket(request, deliver)
        self.tickets.append(ticket)
        if not self.held:
            asyncio.get_running_loop().call_soon(self.release)
        return ticket

    def stream(self, request: InferRequest, deliver: Deliver, end: Callable[[Exception | None], None]) -> FakeTicket:
        """``parts`` answers, then the end; the last one an error where ``breaks`` is one."""
        ticket = FakeTicket(request, deliver)

        def step(number: int) -> None:
            if ticket.deliver is None:
                self.cancelled += 1
            elif number < self.parts:
                outcome = self.answer(request)
                deliver(outcome)
                if not isinstance(outcome, Exception):
                    asyncio.get_running_loop().call_soon(step, number + 1)
            else:
                end(self.breaks)

        if self.refuse is not None:
            raise self.refuse
        asyncio.get_running_loop().call_soon(step, 0)
        return ticket

    def release(self, *, reverse: bool = False) -> None:
        """Answer everything that waits."""
        tickets, self.tickets = self.tickets, []
        for ticket in reversed(tickets) if reverse else tickets:
            if ticket.deliver is not None:
                ticket.deliver(self.answer(ticket.request))

    def answer(self, request: InferRequest) -> Answer | Exception:
        model = self._find(request.model, request.version)
        self.answered.append(request)
        try:
            outputs = model.run({tensor.name: array_of(tensor) for tensor in request.inputs})
        except Exception as error:
            return error
        rows = len(next(iter(outputs.values()))) if model.view.is_batchable else 1
        batch = BatchOutputs(model.view, outputs, rows, is_sliced=model.view.is_batchable)
        batch.timing = self.timing
        return Answer(batch, 0, rows if model.view.is_batchable else None, request.outputs)

    def view(self, model: str, version: int | None = None) -> ModelView:
        return self._find(model, version).view

    def expect(self, model: str, version: int | None = None) -> ModelView:
        if self.too_late is not None:
            raise self.too_late
        return self.view(model, version)

    def models(self) -> Sequence[ModelStatus]:
        return self.statuses

    def statistics(self, model: str | None = None, version: int | None = None) -> Sequence[ModelStatistics]:
        if model is not None:
            self._find(model, version)
        return [
            one
            for one in self.counted
            if (model is None or one.name == model) and (version is None or one.version == str(version))
        ]

    async def load(self, model: str, versions: Sequence[int] | None = None) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.loads.append((model, versions))

    async def unload(self, model: str) -> None:
        self._find(model, None)
        self.unloads.append(model)

    def is_live(self) -> bool:
        return self.live

    def is_ready(self, model: str | None = None, version: int | None = None) -> bool:
        if model is not None:
            self._find(model, version)
        return self.ready

    def _find(self, model: str, version: int | None) -> FakeModel:
        found = self.models_by_key.get((model, version))
        if found is None:
            raise NotFound(f"no model '{model}'", hint="mlserve list")
        if found.view.state is not ModelState.READY:
            raise Unavailable(f"model '{model}' is loading")
        return found


def array_of(tensor: InputTensor) -> np.ndarray[Any, Any]:
    """The input's values as an array of its shape."""
    if isinstance(tensor.values, np.ndarray):
        return tensor.values
    return np.array(tensor.values, dtype=tensor.dtype.numpy).reshape(tensor.shape)


def view_of(
    inputs: Mapping[str, tuple[DType, tuple[Any, ...]]],
    outputs: Mapping[str, tuple[DType, tuple[Any, ...]]],
    *,
    name: str = "fraud",
    version: str = "1",
    is_batchable: bool = True,
    state: ModelState = ModelState.READY,
) -> ModelView:
    """A view with the given tensors: name → (type, dims)."""
    signature = Signature(
        tuple(TensorSpec(tensor, dtype, dims) for tensor, (dtype, dims) in inputs.items()),
        tuple(TensorSpec(tensor, dtype, dims) for tensor, (dtype, dims) in outputs.items()),
    )
    return ModelView(name, version, (version,), signature, state, is_batchable=is_batchable)


def doubling(*, name: str = "fraud", features: int = 3) -> FakeModel:
    """[batch, features] FP32 in ``x``; ``y`` is twice as much."""
    view = view_of({"x": (DType.FLOAT32, ("batch", features))}, {"y": (DType.FLOAT32, ("batch", features))}, name=name)
    return FakeModel(view, lambda inputs: {"y": inputs["x"] * np.float32(2)})


def echo(dtype: DType, *, name: str = "echo", dims: tuple[Any, ...] = ("batch", None)) -> FakeModel:
    """``y`` is ``x``, of any type."""
    view = view_of({"x": (dtype, dims)}, {"y": (dtype, dims)}, name=name)
    return FakeModel(view, lambda inputs: {"y": inputs["x"]})
