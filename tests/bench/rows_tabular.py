"""Rows on the small model, where servers differ: FastAPI, a constant answer, gRPC, memory, features on and off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from mlserve.bench import http2
from mlserve.bench.generators import ServerDriver
from mlserve.bench.grpc_messages import INFER, infer_request
from mlserve.bench.messages import Message, post_json
from mlserve.bench.stretches import Stretch
from mlserve.core.dtypes import DType
from mlserve.wiring.grpc_remote import GrpcModel
from tests.bench import models, peers
from tests.bench.pairs import Bench, Topic, cpu, fill, fill_inverse, fill_numbers, p99, rps
from tests.bench.servers import (
    ALL_CORES,
    HOST,
    LOAD_CORE,
    SERVER_CORE,
    Cores,
    Server,
    learned,
    mlserve,
    module,
    on_cores,
    pss_mb,
)
from tests.bench.table import Demand, Line, NotAvailable
from tests.bench.tabular import rows
from tests.bench.wrk import wrk_rps

DISTINCT_ROWS = 64
MLSERVER_GRPC = "MLServer's gRPC"
ALL_ON = {"serve.metrics": "true", "serve.access_log": "sampled"}
ALL_OFF = {"serve.metrics": "false", "serve.access_log": "off"}


def requests(port: int) -> list[bytes]:
    """The rows as Open Inference Protocol requests in JSON."""
    return [
        post_json(HOST, port, "/v2/models/tabular/infer", {"inputs": [{"name": "x", "shape": [1, len(row)],
                                                                       "datatype": "FP32", "data": row}]})
        for row in rows(DISTINCT_ROWS)
    ]  # fmt: skip


@contextmanager
def ours(model: Path, cores: Cores = SERVER_CORE, **settings: str) -> Iterator[Server]:
    with mlserve(model, cores=cores, settings={f"serve.{name}": value for name, value in settings.items()}) as ready:
        yield ready.server(requests)


@contextmanager
def fastapi(model: Path, processes: int) -> Iterator[Server]:
    """The handler: one process on the server's core, or two that share both cores with the load."""
    cores = SERVER_CORE if processes == 1 else ALL_CORES
    with module("tests.bench.fastapi_handler", str(model), str(processes), cores=cores) as (pid, port):
        asked = [post_json(HOST, port, "/predict", {"features": [row]}) for row in rows(DISTINCT_ROWS)]
        yield Server(f"fastapi × {processes}", port, pid, learned(port, asked))


@contextmanager
def constant_front() -> Iterator[Server]:
    """The front end alone."""
    with module("tests.bench.constant_front", cores=SERVER_CORE) as (pid, port):
        yield Server("constant", port, pid, learned(port, requests(port)))


def against_fastapi(bench: Bench, lines: list[Line]) -> None:
    model = models.tabular()
    with on_cores(LOAD_CORE), ExitStack() as stack:
        mine = stack.enter_context(ours(model))
        handlers = [stack.enter_context(fastapi(model, processes)) for processes in (1, 2)]
        for concurrency, line in zip((64, 16, 1), (lines[0], lines[2], lines[3]), strict=True):
            tries = [(one.name, _rate(one, concurrency, bench.seconds / 2)) for one in handlers]
            better = bench.best(f"FastAPI at {concurrency}", tries)
            theirs = next(one for one in handlers if one.name == better)
            pairs = bench.pairs(
                f"tabular JSON at {concurrency} against {better}",
                lambda: mine.load(concurrency, bench.seconds),  # noqa: B023 (called before the next turn)
                lambda: theirs.load(concurrency, bench.seconds),  # noqa: B023
            )
            fill(line, pairs, rps)
            line.note = better
            if concurrency == 64:
                fill_inverse(lines[1], pairs, p99)


def against_a_constant(bench: Bench, lines: list[Line]) -> None:
    with on_cores(LOAD_CORE), ours(models.tabular()) as mine, constant_front() as constant:
        pairs = bench.pairs(
            "CPU of a request at 64, against a constant answer",
            lambda: mine.load(64, bench.seconds),
            lambda: constant.load(64, bench.seconds),
        )
        fill(lines[0], pairs, cpu)


def grpc_against_echo(bench: Bench, lines: list[Line]) -> None:
    arrays = [{"x": np.array([row], np.float32)} for row in rows(DISTINCT_ROWS)]
    with ExitStack() as stack:
        stack.enter_context(on_cores(LOAD_CORE))
        ready = stack.enter_context(mlserve(models.tabular(), cores=SERVER_CORE))
        if ready.grpc is None:
            raise NotAvailable("mlserve does not speak gRPC yet")
        port = int(ready.grpc.rsplit(":", 1)[1])
        asked = [infer_request("tabular", "", one, {"x": DType.FLOAT32}) for one in arrays]
        remote = GrpcModel(f"grpc://{HOST}:{port}/tabular")
        mine = Server("mlserve gRPC", port, ready.pid, remote.learn(asked), INFER)
        remote.close()
        same = [Message(message, message) for message in map(http2.message_of, asked)]
        for flavour, line in zip(("aio", "sync"), lines, strict=False):
            with module("tests.bench.grpc_echo", flavour, cores=SERVER_CORE) as (pid, echo_port):
                echo = Server(f"grpcio {flavour} echo", echo_port, pid, same, INFER)
                pairs = bench.pairs(
                    f"gRPC at 64 against a grpcio {flavour} echo",
                    lambda: mine.load(64, bench.seconds),
                    lambda: echo.load(64, bench.seconds),  # noqa: B023 (called before the next turn)
                )
                fill(line, pairs, rps)
        with peers.mlserver_grpc(models.tabular(), asked) as theirs:
            pairs = bench.pairs(
                "gRPC at 64 against MLServer",
                lambda: mine.load(64, bench.seconds),
                lambda: theirs.load(64, bench.seconds),
            )
            fill(lines[2], pairs, rps)


def against_mosec(bench: Bench, lines: list[Line]) -> None:
    model = models.tabular()
    with on_cores(LOAD_CORE), ours(model) as mine, peers.mosec(model, DISTINCT_ROWS) as theirs:
        pairs = bench.pairs(
            "tabular JSON at 64 against mosec",
            lambda: mine.load(64, bench.seconds),
            lambda: theirs.load(64, bench.seconds),
        )
        fill(lines[0], pairs, rps)
        fill_inverse(lines[1], pairs, p99)


def generator_against_wrk(bench: Bench, lines: list[Line]) -> None:
    with on_cores(LOAD_CORE), ours(models.tabular()) as mine:
        pairs = bench.pairs(
            "our generator against wrk",
            lambda: mine.load(64, bench.seconds).rps,
            lambda: wrk_rps(mine, 64, bench.seconds),
        )
        fill_numbers(lines[0], pairs)
        driver = ServerDriver(HOST, mine.port, mine.messages)
        loads = [(mine.load(64, bench.seconds).rps, driver.ceiling(Stretch(64, bench.seconds, 0.2)).rps)
                 for _ in range(bench.rounds)]  # fmt: skip
        fill_numbers(lines[1], loads)


def memory(bench: Bench, lines: list[Line]) -> None:
    sizes = []
    with on_cores(LOAD_CORE), ours(models.tabular()) as mine:
        for _ in range(bench.rounds):
            mine.load(64, bench.seconds / 2)
            sizes.append(pss_mb(mine.pid))
    fill_numbers(lines[0], [(size, 1.0) for size in sizes])
    lines[0].theirs = None


def features_on_and_off(bench: Bench, lines: list[Line]) -> None:
    model = models.tabular()
    with ExitStack() as stack:
        stack.enter_context(on_cores(LOAD_CORE))
        servers = []
        for settings in (ALL_ON, ALL_OFF):
            ready = stack.enter_context(mlserve(model, cores=SERVER_CORE, settings=settings))
            servers.append(ready.server(requests))
        on, off = servers
        pairs = bench.pairs(
            "features on against off", lambda: on.load(64, bench.seconds), lambda: off.load(64, bench.seconds)
        )
        fill(lines[0], pairs, rps)


def _rate(server: Server, concurrency: int, seconds: float) -> Callable[[], float]:
    return partial(_rps_of, server, concurrency, seconds)


def _rps_of(server: Server, concurrency: int, seconds: float) -> float:
    return server.load(concurrency, seconds).rps


TABULAR = "tabular MLP, 30 floats, JSON, "
TOPICS: Sequence[Topic] = (
    Topic(
        "fastapi",
        [
            Line(TABULAR + "64 clients: requests/s", "FastAPI + uvicorn, better of 1 and 2 processes", Demand(7), "/s"),
            Line(TABULAR + "64 clients: p99, theirs / ours", "the same", Demand(5), "ms"),
            Line(TABULAR + "16 clients: requests/s", "the same", Demand(6), "/s"),
            Line(TABULAR + "1 client: requests/s", "the same", Demand(2), "/s"),
        ],
        against_fastapi,
    ),
    Topic(
        "constant",
        [
            Line(
                TABULAR + "64 clients: server CPU of a request",
                "a constant answer from the same front end",
                Demand(2.5, at_most=True),
                "µs",
            )
        ],
        against_a_constant,
    ),
    Topic(
        "grpc",
        [
            Line("tabular, gRPC, 64 in flight: requests/s", "grpc.aio echo of the same bytes", Demand(0.6), "/s"),
            Line("tabular, gRPC, 64 in flight: requests/s", "grpcio sync echo of the same bytes", Demand(None), "/s"),
            Line("tabular, gRPC, 64 in flight: requests/s", MLSERVER_GRPC, Demand(3), "/s"),
        ],
        grpc_against_echo,
    ),
    Topic(
        "mosec",
        [
            Line(TABULAR + "64 clients: requests/s", "mosec, batches of 2 ms", Demand(None), "/s"),
            Line(TABULAR + "64 clients: p99, theirs / ours", "mosec, batches of 2 ms", Demand(None), "ms"),
        ],
        against_mosec,
    ),
    Topic(
        "generator",
        [
            Line(TABULAR + "64 clients: seen by our generator", "the same server, seen by wrk", Demand(None), "/s"),
            Line(TABULAR + "64 clients: requests/s", "the generator's own ceiling", Demand(None), "/s"),
        ],
        generator_against_wrk,
    ),
    Topic("memory", [Line("tabular, 1 process: PSS", "–", Demand(120, at_most=True), "MB")], memory),
    Topic(
        "features",
        [
            Line(
                "tabular, metrics on and access log sampled: requests/s", "the same server, all off", Demand(0.95), "/s"
            )
        ],
        features_on_and_off,
    ),
)
