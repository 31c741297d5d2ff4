"""An engine on real models in the test's own event loop, and what to ask it with."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from mlserve.core.dtypes import DType, from_numpy
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.runtime.certificate import Certificate, certify
from mlserve.runtime.costs import Costs
from mlserve.runtime.model import load_model
from mlserve.runtime.threads import ThreadPlan
from mlserve.serving.engine import BatchingEngine
from mlserve.serving.lanes import Lanes
from mlserve.serving.loaded import Loaded
from mlserve.serving.loading import Fetched, Wanted
from mlserve.serving.repository import Repository
from mlserve.serving.seam import Answer, InferRequest, InputTensor
from tests import models

Array = np.ndarray[Any, Any]

INLINE = Costs(alpha_s=20e-6, beta_s=1e-6, has_control_flow=False)
IN_LANES = Costs(alpha_s=4e-3, beta_s=1e-3, has_control_flow=False)
NOWHERE = Path("no file is read")


def wanted(name: str, version: int = 1, *stages: str, digest: str = "d", generation: int = 1) -> Wanted:
    held = stages or ("production",)
    return Wanted(name, version, held, f"{digest}{version}", lambda: Fetched(NOWHERE), generation)


def loader(protos: Mapping[tuple[str, int], onnx.ModelProto], costs: Costs) -> Callable[[Wanted], Loaded]:
    """Loads the model of each (name, version), certified, with the costs given instead of measured."""

    def load(one: Wanted) -> Loaded:
        content = protos[one.name, one.version].SerializeToString()
        model = load_model(content, device="cpu", threads=ThreadPlan(1, 1))
        return Loaded(one.name, one.version, model, certify(model), costs, digest=one.digest)

    return load


class World:
    """An engine with everything it needs, built inside a running loop."""

    def __init__(
        self,
        names: Sequence[str],
        load: Callable[[Wanted], Loaded],
        *,
        lanes: int = 2,
        repository: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.events: list[dict[str, Any]] = []
        self.repository = Repository(names, load, on_event=self.events.append, **(repository or {}))
        self.lanes = Lanes(lanes, loop)
        self.lanes.start()
        self.engine = BatchingEngine(self.repository, self.lanes, loop, **{"max_queue_rows": 1000, **options})

    def ask(self, name: str, version: int | None = None, /, *, outputs: tuple[str, ...] | None = None,
            deadline_s: float | None = None, priority: int = 0, as_lists: bool = False,
            **inputs: Any) -> asyncio.Future[Answer]:  # fmt: skip
        """Sends a request now; what becomes of it is in the future."""
        tensors = [tensor(key, value, as_lists=as_lists) for key, value in inputs.items()]
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def deliver(answer: Answer | Exception) -> None:
            assert not future.done(), "a request is answered once"
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        self.ticket = self.engine.infer(InferRequest(name, version, tensors, outputs, deadline_s, priority), deliver)
        return future

    def close(self) -> None:
        self.lanes.close(10.0)


async def world_of(
    proto: onnx.ModelProto | None = None, costs: Costs = INLINE, *, lanes: int = 2, **options: Any
) -> World:
    """A world with one model ``m:1`` in production."""
    made = World(["m"], loader({("m", 1): proto or models.classifier()}, costs), lanes=lanes, **options)
    await made.repository.apply([wanted("m")])
    return made


def tensor(name: str, value: Any, *, as_lists: bool = False) -> InputTensor:
    array = np.asarray(value)
    dtype = from_numpy(array.dtype)
    if dtype is DType.STRING:
        array = array.astype(object)
    return InputTensor(name, dtype, array.shape, array.ravel().tolist() if as_lists else array)


def arrays(answer: Answer) -> dict[str, Array]:
    return {output.name: output.array() for output in answer.outputs}


def rows(count: int, seed: int = 0, features: int = 4) -> Array:
    return np.random.default_rng(seed).normal(size=(count, features)).astype(np.float32)


class GatedModel:
    """``y = x``, in a lane until the gate opens; notes the rows of every run. ``refused`` values are refused."""

    signature = Signature((TensorSpec("x", DType.FLOAT32, ("n", 1)),), (TensorSpec("y", DType.FLOAT32, ("n", 1)),))
    providers = ("CPUExecutionProvider",)
    threads = 1
    platform = "onnxruntime_onnx"
    is_repeatable = True
    is_elsewhere = False
    is_up = True

    def __init__(self, refused: Mapping[float, Exception] | None = None) -> None:
        self.gate = threading.Event()
        self.started = threading.Semaphore(0)
        self.runs: list[int] = []
        self.values: list[list[float]] = []
        self.refused = refused or {}
        self.is_closed = False

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        self.runs.append(len(inputs["x"]))
        self.values.append(inputs["x"].ravel().tolist())
        self.started.release()
        assert self.gate.wait(60.0)
        assert not self.is_closed, "no run after the model is closed"
        for value, error in self.refused.items():
            if value in inputs["x"]:
                raise error
        return {"y": inputs["x"].copy()}

    def close(self) -> None:
        self.is_closed = True


def gated(model: GatedModel, costs: Costs = IN_LANES, *, name: str = "m", version: int = 1, max_rows: int | None = None,
          batchable: bool = True) -> Loaded:  # fmt: skip
    certificate = Certificate(batchable, "exact" if batchable else "none", 0.0, 0, "", "CPUExecutionProvider", 1)
    return Loaded(name, version, model, certificate, costs, digest=f"d{version}", max_rows=max_rows)  # type: ignore[arg-type]


async def gated_world(model: GatedModel, costs: Costs = IN_LANES, *, lanes: int = 2, max_rows: int | None = None,
                      batchable: bool = True, **options: Any) -> World:  # fmt: skip
    made = World(["m"], lambda one: gated(model, costs, max_rows=max_rows, batchable=batchable), lanes=lanes, **options)
    await made.repository.apply([wanted("m")])
    return made


async def started(model: GatedModel, runs: int = 1) -> None:
    """Until so many more runs have begun."""
    loop = asyncio.get_running_loop()
    for _ in range(runs):
        assert await loop.run_in_executor(None, partial(model.started.acquire, timeout=60.0))
