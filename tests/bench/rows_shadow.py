"""What a version in shadow costs production: p99 under open loop, everything mirrored against nothing.

The shadow's process has the server's core and no other, which is the worst that can be done to it: where there are
cores to spare, it has those.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from mlserve.bench.arrivals import arrivals
from tests.bench import models
from tests.bench.pairs import Bench, Topic, fill, p99
from tests.bench.rows_tabular import requests
from tests.bench.servers import LOAD_CORE, SERVER_CORE, Figures, Ready, Server, mlserve, on_cores
from tests.bench.table import Demand, Line

CONNECTIONS = 64
LOAD = 0.3
ROUNDS = 10
SETTLE_S = 3.0
"""How long a shadow has to be loaded before anything is measured."""

WORDS = [sys.executable, "-m", "mlserve"]


@contextmanager
def registered(model: Path, *, is_in_shadow: bool) -> Iterator[Ready]:
    """A server of a registry with ``model`` in production, and in its own shadow."""
    with tempfile.TemporaryDirectory(prefix="mlserve-shadow-bench-") as folder:
        registry = f"sqlite:///{folder}/registry.db"

        def say(*words: str) -> None:
            env = os.environ | {"MLSERVE_REGISTRY": registry}
            subprocess.run([*WORDS, *words], cwd=folder, env=env, check=True, capture_output=True)

        say("init")
        say("register", model.stem, str(model.absolute()))
        say("promote", f"{model.stem}:1", "--to", "production")
        if is_in_shadow:
            say("promote", f"{model.stem}:1", "--to", "shadow", "--traffic", "100%")
        with mlserve(Path(model.stem), cores=SERVER_CORE, settings={"registry": registry}) as ready:
            yield ready


def tabular(bench: Bench, lines: list[Line]) -> None:
    bench = bench if bench.quick else replace(bench, rounds=max(ROUNDS, bench.rounds))
    model = models.tabular()
    with ExitStack() as stack:
        stack.enter_context(on_cores(LOAD_CORE))
        on, off = (
            stack.enter_context(registered(model, is_in_shadow=shadow)).server(requests) for shadow in (True, False)
        )
        time.sleep(SETTLE_S)
        rate = LOAD * off.load(CONNECTIONS, max(1.0, bench.seconds)).rps
        turns = iter(range(2 * bench.rounds))

        def load(server: Server) -> Figures:
            """On a schedule that is new for each pair, and the same for both sides of it."""
            rng = np.random.default_rng(next(turns) // 2)
            seconds = 2 * bench.seconds
            return server.load(CONNECTIONS, seconds, due=arrivals("poisson", rate, seconds + 0.5, rng), warmup_s=0.5)

        pairs = bench.pairs("tabular with a shadow", lambda: load(on), lambda: load(off))
        fill(lines[0], pairs, p99)
        lines[0].note = f"{rate:.0f}/s due"


TOPICS: Sequence[Topic] = (
    Topic(
        "shadow",
        [
            Line(
                f"tabular, open loop at {LOAD:.0%}, all mirrored to a shadow on the same core: p99",
                "the same server without a shadow",
                Demand(1.15, at_most=True, is_whole=True),
                "ms",
            )
        ],
        tabular,
    ),
)
