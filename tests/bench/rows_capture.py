"""What capturing everything costs: small requests at full speed, and images."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tests.bench import models
from tests.bench.pairs import Bench, Topic, fill, rps
from tests.bench.rows_heavy import PICTURE, asked
from tests.bench.rows_tabular import requests
from tests.bench.servers import ALL_CORES, LOAD_CORE, SERVER_CORE, Cores, Ready, mlserve, on_cores
from tests.bench.table import Demand, Line


@contextmanager
def two(model: Path, cores: Cores) -> Iterator[list[Ready]]:
    """The same server with everything captured, and without."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mlserve-capture-"))
        # What a disk keeps of minutes at full speed is not what is measured.
        captures = {"serve.capture": folder, "serve.capture_max_bytes": str(1 << 30)}
        yield [stack.enter_context(mlserve(model, cores=cores, settings=one)) for one in (captures, {})]


def tabular(bench: Bench, lines: list[Line]) -> None:
    with on_cores(LOAD_CORE), two(models.tabular(), SERVER_CORE) as ready:
        on, off = (one.server(requests) for one in ready)
        pairs = bench.pairs(
            "tabular with a capture", lambda: on.load(64, bench.seconds), lambda: off.load(64, bench.seconds)
        )
        fill(lines[0], pairs, rps)


def images(bench: Bench, lines: list[Line]) -> None:
    path, inputs = models.cnn(), list(models.images(4))
    messages = partial(asked, path.stem, PICTURE, inputs, "binary")
    with two(path, ALL_CORES) as ready:
        on, off = (one.server(messages) for one in ready)
        seconds = 2 * bench.seconds
        pairs = bench.pairs("images with a capture", lambda: on.load(16, seconds), lambda: off.load(16, seconds))
        fill(lines[0], pairs, rps)


OFF = "the same server without a capture"
TOPICS: Sequence[Topic] = (
    Topic("capture", [Line("tabular, 64 clients, all captured: requests/s", OFF, Demand(0.95), "/s")], tabular),
    Topic("capture-images", [Line("600 kB images, 16 clients, all captured: rows/s", OFF, Demand(0.9), "/s")], images),
)
