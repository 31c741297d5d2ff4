"""Where a tabular request's microseconds go: each step by itself, and the whole as the server's processor time.

sockets, HTTP     the constant answer from the same front end: read, parse, write
decode            JSON to tensors
queue, gather,    the engine in this process, less the run: admission, one array a batch, rows dealt out again
deal out
run               ONNX Runtime, a batch of 64, for each row
encode            numbers to JSON, a batch of 64, for each answer
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from time import thread_time
from typing import Any

import numpy as np

from mlserve.bench.calls import run_calls
from mlserve.bench.clients import RIGHT
from mlserve.bench.stretches import Stretch
from mlserve.core.dtypes import DType
from mlserve.core.settings import ServeSettings
from mlserve.runtime.model import load_model
from mlserve.runtime.threads import ThreadPlan
from mlserve.serving.oip.decoding import decode_infer
from mlserve.serving.oip.encoding import encode_plain
from mlserve.serving.seam import Answer, BatchOutputs, InferRequest, InputTensor
from mlserve.wiring.calling import NAME, CallDriver, calling
from tests.bench import models
from tests.bench.pairs import Bench, Topic, fill_numbers
from tests.bench.rows_tabular import constant_front, ours
from tests.bench.servers import LOAD_CORE, on_cores
from tests.bench.table import Demand, Line
from tests.bench.tabular import rows

BATCH = 64


def budget(bench: Bench, lines: list[Line]) -> None:
    path = models.tabular()
    with on_cores(LOAD_CORE), ours(path) as server, constant_front() as constant:
        whole = [server.load(BATCH, bench.seconds).cpu_us for _ in range(bench.rounds)]
        front = [constant.load(BATCH, bench.seconds).cpu_us for _ in range(bench.rounds)]
    steps = {"front": statistics.median(front)} | _steps(bench)
    for line, us in zip(lines, steps.values(), strict=False):
        fill_numbers(line, [(us, each) for each in whole])
    rest = statistics.median(whole) - sum(steps.values())
    fill_numbers(lines[-1], [(rest, each) for each in whole])
    bench.raw.append({"what": "budget", "steps_us": steps, "whole_us": whole})


def _steps(bench: Bench) -> dict[str, float]:
    array = np.array(rows(BATCH), np.float32)
    model = load_model(models.tabular(), device="cpu", threads=ThreadPlan(1, 1))
    run_us = _each_us(lambda: model.run({"x": array}), bench)
    model.close()
    with calling(models.tabular(), ServeSettings(device="cpu")) as driver:
        view = driver.loaded.view
        body = json.dumps(
            {"inputs": [{"name": "x", "shape": [1, 30], "datatype": "FP32", "data": rows(1)[0]}]}
        ).encode()
        decode_us = _each_us(lambda: [decode_infer(view, None, body) for _ in range(BATCH)], bench)
        outputs = {"probabilities": np.random.default_rng(0).random((BATCH, 2), np.float32)}

        def encode() -> None:
            batch = BatchOutputs(view, outputs, BATCH, is_sliced=True)
            for start in range(BATCH):
                encode_plain(Answer(batch, start, start + 1))

        encode_us = _each_us(encode, bench)
        engine_us = _engine_us(driver, {"x": array[:1]}, bench) - run_us
    return {"decode": decode_us, "engine": engine_us, "run": run_us, "encode": encode_us}


def _engine_us(driver: CallDriver, arrays: dict[str, Any], bench: Bench) -> float:
    """What a request costs in the engine, the run included and the load taken off."""
    request = InferRequest(NAME, None, [InputTensor("x", DType.FLOAT32, (1, 30), arrays["x"].ravel().tolist())])

    def ask(number: int, done: Callable[[str], None]) -> None:
        driver.engine.infer(request, lambda answer: done(RIGHT))

    stretch = Stretch(BATCH, bench.seconds)
    whole = driver.runner.run(run_calls(ask, stretch))
    alone = driver.ceiling(stretch)
    return 1e6 * (whole.cpu_s / whole.requests - alone.cpu_s / alone.requests)


def _each_us(work: Callable[[], object], bench: Bench) -> float:
    """Processor time of ``work`` for each of its 64, the median of many."""
    times = []
    for _ in range(200 if bench.quick else 2000):
        began_s = thread_time()
        work()
        times.append(thread_time() - began_s)
    return 1e6 * statistics.median(times) / BATCH


def _line(step: str) -> Line:
    return Line(f"budget of a tabular request: {step}", "the whole, server CPU at 64 clients", Demand(None), "µs")


TOPICS: Sequence[Topic] = (
    Topic(
        "budget",
        [
            _line("sockets, HTTP, reply's head"),
            _line("decode"),
            _line("queue, gather, deal out"),
            _line("run"),
            _line("encode"),
            _line("what is left: event loop, caches"),
        ],
        budget,
    ),
)
