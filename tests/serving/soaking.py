"""A process that answers requests of all sizes and says what memory it had meanwhile.

    python -m tests.serving.soaking tabular|minilm REQUESTS

From the root of the repository. The engine, lanes and sessions are those of the server; the sockets are not there. One
line of JSON: megabytes resident, at the end of the warm-up and at each tenth of the requests.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mlserve.core.dtypes import from_numpy
from mlserve.core.settings import ServeSettings
from mlserve.runtime.trimming import give_back
from mlserve.serving.engine import BatchingEngine
from mlserve.serving.seam import Answer, InferRequest, InputTensor
from mlserve.wiring.calling import NAME, calling
from tests.bench import models

Array = np.ndarray[Any, Any]

MAX_ROWS = 16
LONGEST = 128
KNOWN_SEQUENCE = (16, *[7] * 29)
"""Sizes that made the arena grow without end: microsoft/onnxruntime#24376."""


def request(**inputs: Array) -> InferRequest:
    tensors = [InputTensor(name, from_numpy(array.dtype), array.shape, array) for name, array in inputs.items()]
    return InferRequest(NAME, None, tensors)


def tabular(rng: np.random.Generator, largest: bool) -> InferRequest:
    rows = 64 if largest else int(rng.integers(1, 65))
    return request(x=np.ones((rows, 30), np.float32))


def sentences(rng: np.random.Generator, largest: bool) -> InferRequest:
    length = LONGEST if largest else int(np.clip(rng.lognormal(np.log(24), 0.7), 8, LONGEST))
    return text(MAX_ROWS if largest else int(rng.integers(1, 5)), length)


def text(rows: int, length: int) -> InferRequest:
    ids = np.full((rows, length), 1000, np.int64)
    return request(input_ids=ids, attention_mask=np.ones_like(ids))


async def answered(engine: BatchingEngine, requests: Iterator[InferRequest], in_flight: int) -> None:
    """All of ``requests``, ``in_flight`` at a time. Raises what one of them raises."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    left = in_flight

    def deliver(answer: Answer | Exception) -> None:
        if isinstance(answer, Exception) and not done.done():
            done.set_exception(answer)
        loop.call_soon(send)

    def send() -> None:
        nonlocal left
        following = next(requests, None)
        if following is not None:
            engine.infer(following, deliver)
            return
        left -= 1
        if not left and not done.done():
            done.set_result(None)

    for _ in range(in_flight):
        send()
    await done


def resident_mib() -> float:
    """Resident memory in MiB, what allocators keep for nobody given back."""
    give_back()
    fields = dict(line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return int(fields["Rss"].split()[0]) / 1024


def soak(kind: str, count: int) -> dict[str, Any]:
    """Answer ``count`` requests of all sizes; what was resident."""
    path = models.tabular() if kind == "tabular" else models.minilm()
    make: Callable[[np.random.Generator, bool], InferRequest] = tabular if kind == "tabular" else sentences
    in_flight = 64 if kind == "tabular" else 4
    rng = np.random.default_rng(0)
    max_batch = None if kind == "tabular" else MAX_ROWS
    with calling(path, ServeSettings(device="cpu", warmup_s=5.0, max_batch=max_batch)) as driver:

        def run(requests: Iterator[InferRequest], at_once: int = in_flight) -> None:
            driver.runner.run(answered(driver.engine, requests, at_once))

        run(make(rng, True) for _ in range(2 * in_flight))
        if kind == "minilm":
            run((text(rows, 32) for rows in KNOWN_SEQUENCE), 1)
        run(make(rng, False) for _ in range(count // 10))
        marks = [resident_mib()]
        if kind == "minilm":
            run((text(rows, 32) for rows in KNOWN_SEQUENCE * 3), 1)
        for _ in range(10):
            run(make(rng, False) for _ in range(count // 10))
            marks.append(resident_mib())
    return {"model": kind, "requests": count, "resident_mib": [round(mark, 1) for mark in marks]}


if __name__ == "__main__":
    print(json.dumps(soak(sys.argv[1], int(sys.argv[2]))))
