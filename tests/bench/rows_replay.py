"""What a replay adds to the runs themselves: captured rows through the recorded version, and bare ``session.run``."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np

from mlserve.replay.runs import edges_of
from mlserve.rows.captured_reading import Captured
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.threads import plan_for_throughput, usable_cores
from mlserve.traffic.recorded import Recorded, Source
from mlserve.traffic.writing import CapturePlan, CaptureWriter
from mlserve.wiring.replaying import replay
from mlserve.wiring.replaying_asked import Asked
from tests.bench import models
from tests.bench.pairs import Bench, Topic, fill_numbers
from tests.bench.table import Demand, Line

RUN_ROWS = 32
"""Requests of a run, as a busy server makes them."""


@contextmanager
def recorded(path: Path, inputs: models.Arrays, runs: int) -> Iterator[tuple[Path, OnnxModel]]:
    """A capture of so many runs of ``inputs``, answered by the model in ``path``, loaded as a replay loads it."""
    model = load_model(path, threads=plan_for_throughput(usable_cores()))
    source = Source("bench", 1, None, model.signature)
    outputs = model.run(inputs)
    rows = len(next(iter(inputs.values())))
    with tempfile.TemporaryDirectory(prefix="mlserve-replay-") as folder:
        writer = CaptureWriter(CapturePlan(Path(folder)), "bench")
        for first in range(0, runs, 128):
            writer.write(
                [
                    Recorded(
                        source=source,
                        ids=[b"r%07d-%03d" % (number, row) for row in range(rows)],
                        arrived_s=[float(number)] * rows,
                        status=200,
                        inputs=inputs,
                        outputs=outputs,
                        is_sliced=True,
                        epoch_s=1.8e9,
                        taken_s=float(number),
                        compute_s=1e-3,
                        batch_id=number,
                        batch_rows=rows,
                    )
                    for number in range(first, min(runs, first + 128))
                ]
            )
        writer.close()
        yield Path(folder), model
        model.close()


def bare_rows_per_s(capture: Path, model: OnnxModel) -> float:
    """The same rows in the same runs, read beforehand, through ``session.run`` in a loop."""
    feeds = [
        {name: array[first:end] for name, array in batch.inputs.items()}
        for batch in Captured(capture).batches()
        for first, end in pairwise(edges_of(batch, "recorded", RUN_ROWS))
    ]
    began_s = time.perf_counter()
    for feed in feeds:
        model.session.run(None, feed)
    return len(feeds) * len(next(iter(feeds[0].values()))) / (time.perf_counter() - began_s)


def replayed_rows_per_s(capture: Path, path: Path) -> float:
    (document,) = replay(Asked(capture, [str(path)])).documents
    assert document["identical"] == document["rows"]
    return float(document["throughput"]["rows_per_s"])


def _measured(what: str, path: Path, inputs: models.Arrays, runs: int, bench: Bench, lines: list[Line]) -> None:
    with recorded(path, inputs, max(8, runs // (10 if bench.quick else 1))) as (capture, model):
        pairs = bench.pairs(what, lambda: replayed_rows_per_s(capture, path), lambda: bare_rows_per_s(capture, model))
        fill_numbers(lines[0], pairs)


def tabular(bench: Bench, lines: list[Line]) -> None:
    rows = np.random.default_rng(0).normal(size=(RUN_ROWS, 30)).astype(np.float32)
    _measured("replay of the tabular model", models.tabular(), {"x": rows}, 16_000, bench, lines)


def cnn(bench: Bench, lines: list[Line]) -> None:
    images = [next(iter(one.values())) for one in models.images(8)]
    _measured("replay of images", models.cnn(), {"image": np.concatenate(images)}, 6, bench, lines)


def minilm(bench: Bench, lines: list[Line]) -> None:
    sentences = list(models.sentences(8, np.full(8, 32)))
    inputs = {name: np.concatenate([one[name] for one in sentences]) for name in sentences[0]}
    _measured("replay of MiniLM", models.minilm(), inputs, 60, bench, lines)


BARE = "session.run alone, the same rows in the same runs"
TOPICS: Sequence[Topic] = (
    Topic("replay", [Line("replay of a capture, tabular, 32 rows a run: rows/s", BARE, Demand(0.9), "/s")], tabular),
    Topic("replay-images", [Line("replay of a capture, CNN, 8 rows a run: rows/s", BARE, Demand(0.9), "/s")], cnn),
    Topic("replay-text", [Line("replay of a capture, MiniLM, 8 rows a run: rows/s", BARE, Demand(0.9), "/s")], minilm),
)
