"""Rows on models that fill the cores: against ONNX Runtime alone, with and without what should help them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from mlserve.bench.asking import Protocol, requests_of
from mlserve.bench.messages import post_json
from mlserve.core.dtypes import DType
from mlserve.core.files import replacing
from mlserve.core.tensors import Signature, TensorSpec
from tests.bench import models
from tests.bench.pairs import Bench, Topic, fill, fill_inverse, fill_numbers, p50, p99, rps
from tests.bench.servers import ALL_CORES, HOST, Figures, Server, learned, mlserve, module, started
from tests.bench.table import Demand, Line

TEXT = Signature(
    tuple(TensorSpec(name, DType.INT64, ("batch", "sequence")) for name in ("input_ids", "attention_mask")), ()
)
PICTURE = Signature((TensorSpec("image", DType.FLOAT32, ("batch", *models.IMAGE)),), ())
HEAVY_WARMUP_S = 0.5


def asked(
    model: str, signature: Signature, inputs: Sequence[models.Arrays], protocol: Protocol, port: int
) -> list[bytes]:
    return list(requests_of(inputs, signature, protocol, HOST, port, f"/v2/models/{model}/infer"))


@contextmanager
def served(
    path: Path, signature: Signature, inputs: Sequence[models.Arrays], protocol: Protocol = "json", **settings: str
) -> Iterator[Server]:
    """mlserve on all cores, with the load beside it."""
    named = {f"serve.{name}": value for name, value in settings.items()}
    with mlserve(path, cores=ALL_CORES, settings=named) as ready:
        yield ready.server(partial(asked, path.stem, signature, inputs, protocol))


@contextmanager
def bare(bench: Bench, path: Path, inputs: models.Arrays) -> Iterator[Callable[[], float]]:
    """Rows a second of ``session.run`` alone, in the best of batch sizes and callers."""
    file = path.with_suffix(".inputs.npz")
    with replacing(file) as partial_file, partial_file.open("wb") as handle:
        np.savez(handle, **inputs)
    command = [sys.executable, "-m", "tests.bench.bare_session", str(path), str(file)]
    with started(command, ALL_CORES) as process:

        def ask(rows: int, callers: int, threads: int, seconds: float) -> float:
            assert process.stdin is not None
            assert process.stdout is not None
            print(rows, callers, threads, seconds, file=process.stdin, flush=True)
            return float(process.stdout.readline())

        ways = [(rows, callers, threads) for (callers, threads), rows in product(((1, 1), (2, 1), (1, 2)), (1, 8, 32))]
        # Long enough for two runs of the largest batch.
        seconds = max(bench.seconds / 2, 0.5)
        tries = [(f"{r} rows, {c} × {t} threads", partial(ask, r, c, t, seconds)) for r, c, t in ways]
        best = bench.best(f"{path.stem} alone", tries)
        way = next(way for way, (name, _) in zip(ways, tries, strict=True) if name == best)
        yield partial(ask, *way, bench.seconds)


def minilm_against_bare(bench: Bench, lines: list[Line]) -> None:
    inputs = list(models.sentences(64, np.full(64, 32)))
    path = models.minilm()
    with served(path, TEXT, inputs) as mine, bare(bench, path, inputs[0]) as alone:
        for number, concurrency in enumerate((16, 64)):
            two = lines[2 * number : 2 * number + 2]
            _against_bare(bench, f"MiniLM at {concurrency}", two, mine, concurrency, alone)


def cnn_against_bare(bench: Bench, lines: list[Line]) -> None:
    inputs = list(models.images(4))
    path = models.cnn()
    with served(path, PICTURE, inputs, "binary") as mine, bare(bench, path, inputs[0]) as alone:
        _against_bare(bench, "CNN binary at 16", lines, mine, 16, alone)


def cnn_json_against_fastapi(bench: Bench, lines: list[Line]) -> None:
    inputs = list(models.images(4))
    path = models.cnn()
    with ExitStack() as stack:
        ready = stack.enter_context(mlserve(path, cores=ALL_CORES))
        mine = ready.server(lambda port: [_post(port, f"/v2/models/{path.stem}/infer", _flat(one)) for one in inputs])
        found = [handler for processes in (1, 2) for handler in stack.enter_context(_handlers(path, processes, inputs))]
        for line, (route, concurrency) in zip(lines, (("typed", 16), ("orjson", 16), ("typed", 1)), strict=True):
            handlers = [one for one in found if one.name.startswith(route)]
            tries = [(one.name, partial(_rps_of, one, concurrency, long(bench))) for one in handlers]
            better = bench.best(f"FastAPI at {concurrency}", tries)
            theirs = next(one for one in handlers if one.name == better)
            pairs = bench.pairs(
                f"CNN as JSON at {concurrency} against {better}",
                lambda: mine.load(concurrency, long(bench), warmup_s=HEAVY_WARMUP_S),  # noqa: B023
                lambda: theirs.load(concurrency, long(bench), warmup_s=HEAVY_WARMUP_S),  # noqa: B023
            )
            fill(line, pairs, rps)
            line.note = better


@contextmanager
def _handlers(path: Path, processes: int, inputs: Sequence[models.Arrays]) -> Iterator[list[Server]]:
    """A FastAPI that takes images as nested lists: typed by pydantic, and parsed by hand."""
    with module("tests.bench.fastapi_handler", str(path), str(processes), cores=ALL_CORES) as (pid, port):
        servers = []
        for name, route in (("typed", "/image"), ("orjson", "/tensor")):
            requests = [_post(port, route, {"data": one["image"].tolist()}) for one in inputs]
            servers.append(Server(f"{name} × {processes}", port, pid, learned(port, requests)))
        yield servers


def _rps_of(server: Server, concurrency: int, seconds: float) -> float:
    return server.load(concurrency, seconds, warmup_s=HEAVY_WARMUP_S).rps


def mixed_lengths(bench: Bench, lines: list[Line]) -> None:
    inputs = list(models.sentences(64, models.mixed_lengths(64)))
    path = models.minilm()
    with ExitStack() as stack:
        on = stack.enter_context(served(path, TEXT, inputs, length_buckets="on"))
        off = stack.enter_context(served(path, TEXT, inputs, length_buckets="off"))
        pairs = bench.pairs(
            "MiniLM, mixed lengths at 32",
            lambda: on.load(32, long(bench), warmup_s=HEAVY_WARMUP_S),
            lambda: off.load(32, long(bench), warmup_s=HEAVY_WARMUP_S),
        )
        fill(lines[0], pairs, rps)
        fill(lines[1], pairs, p99)


def lone_request(bench: Bench, lines: list[Line]) -> None:
    inputs = list(models.sentences(64, np.full(64, 32)))
    path = models.minilm()
    with ExitStack() as stack:
        on = stack.enter_context(served(path, TEXT, inputs, lone_session="auto"))
        off = stack.enter_context(served(path, TEXT, inputs, lone_session="off"))
        for concurrency, line in zip((1, 16), lines, strict=True):
            pairs = bench.pairs(
                f"MiniLM at {concurrency}, with and without a second session",
                lambda: on.load(concurrency, long(bench), warmup_s=HEAVY_WARMUP_S),  # noqa: B023
                lambda: off.load(concurrency, long(bench), warmup_s=HEAVY_WARMUP_S),  # noqa: B023
            )
            if concurrency == 1:
                fill_inverse(line, pairs, p50)
            else:
                fill(line, pairs, rps)


def _against_bare(
    bench: Bench, what: str, lines: list[Line], mine: Server, concurrency: int, alone: Callable[[], float]
) -> None:
    """Rows a second against the bare session's, and how far the tail is from the middle."""
    seen: list[Figures] = []

    def ours() -> float:
        seen.append(mine.load(concurrency, long(bench), warmup_s=HEAVY_WARMUP_S))
        return seen[-1].rps

    pairs = bench.pairs(what, ours, alone)
    bench.raw.append({"what": what, "ours": [one.to_dict() for one in seen]})
    fill_numbers(lines[0], pairs, sum(one.errors for one in seen))
    if len(lines) > 1:
        fill_numbers(lines[1], [(one.p99_ms, one.p50_ms) for one in seen], sum(one.errors for one in seen))


def long(bench: Bench) -> float:
    """Heavy models answer few requests a second: a p99 needs some."""
    return bench.seconds if bench.quick else 2 * bench.seconds


def _post(port: int, path: str, body: Any) -> bytes:
    return post_json(HOST, port, path, body)


def _flat(arrays: models.Arrays) -> Any:
    """An image from a client that calls ``tolist``: 3 MB of digits."""
    image = arrays["image"]
    return {
        "inputs": [{"name": "image", "shape": list(image.shape), "datatype": "FP32", "data": image.ravel().tolist()}]
    }


BARE = "bare session.run, best of batch sizes and callers"
TOPICS: Sequence[Topic] = (
    Topic(
        "minilm",
        [
            Line("MiniLM, 32 tokens, JSON, 16 clients: rows/s", BARE, Demand(0.95), "/s"),
            Line("MiniLM, 32 tokens, JSON, 16 clients: p99 / p50", "itself", Demand(1.4, at_most=True), "ms"),
            Line("MiniLM, 32 tokens, JSON, 64 clients: rows/s", BARE, Demand(0.95), "/s"),
            Line("MiniLM, 32 tokens, JSON, 64 clients: p99 / p50", "itself", Demand(1.4, at_most=True), "ms"),
        ],
        minilm_against_bare,
    ),
    Topic(
        "lengths",
        [
            Line("MiniLM, 8–128 tokens log-normal, 32 clients: rows/s", "length buckets off", Demand(1.5), "/s"),
            Line("MiniLM, 8–128 tokens, 32 clients: p99", "length buckets off", Demand(1.0, at_most=True), "ms"),
        ],
        mixed_lengths,
    ),
    Topic(
        "cnn", [Line("CNN of ResNet-50's size, binary, 16 clients: rows/s", BARE, Demand(0.97), "/s")], cnn_against_bare
    ),
    Topic(
        "cnn-json",
        [
            Line("the same image as JSON (3 MB), 16 clients: rows/s", "a FastAPI handler, typed", Demand(1.4), "/s"),
            Line("the same image as JSON (3 MB), 16 clients: rows/s", "the same, orjson by hand", Demand(None), "/s"),
            Line("the same image as JSON (3 MB), 1 client: rows/s", "a FastAPI handler, typed", Demand(None), "/s"),
        ],
        cnn_json_against_fastapi,
    ),
    Topic(
        "lone",
        [
            Line("MiniLM, a lone request: p50, one thread / two", "one ONNX Runtime thread", Demand(1.4), "ms"),
            Line("MiniLM, 16 clients: rows/s", "without the second session", Demand(0.97), "/s"),
        ],
        lone_request,
    ),
)
