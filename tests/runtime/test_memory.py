"""Memory stays level, whatever sizes come: the soak of ``make test-all``, and a short form of it.

An arena that is asked for ever other sizes may keep a block of each (onnxruntime#24376: 16, 7, 7, 7, … rows).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlserve.runtime.bound import BoundModel
from mlserve.runtime.lattice import lattice
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.samples import synthetic_inputs
from mlserve.runtime.threads import ThreadPlan
from tests import models
from tests.bench.models import minilm

MIB = 1 << 20
LANES = 2
ONE_THREAD = ThreadPlan(LANES, 1)
Inputs = dict[str, np.ndarray[Any, Any]]


def rss_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def growth_bytes(model: OnnxModel, inputs: Iterator[Inputs], runs: int) -> int:
    """What ``runs`` runs from two threads add to the process, once a tenth of them has been made."""

    def some(count: int) -> None:
        for _ in range(count):
            model.run(next(inputs))

    with ThreadPoolExecutor(LANES) as pool:
        list(pool.map(some, [runs // 20] * LANES))
        before = rss_bytes()
        list(pool.map(some, [runs * 9 // 20] * LANES))
        return rss_bytes() - before


class Shared:
    """An iterator that several threads may draw from."""

    def __init__(self, values: list[Inputs]) -> None:
        self._values = cycle(values)  # one step of a cycle is one step of the interpreter

    def __iter__(self) -> Shared:
        return self

    def __next__(self) -> Inputs:
        return next(self._values)


def as_it_is(model: OnnxModel) -> OnnxModel:
    return model


def in_slots(model: OnnxModel) -> OnnxModel:
    return BoundModel(model, lattice(64))


each_way = pytest.mark.parametrize("made", [as_it_is, in_slots])


@each_way
def test_a_table_of_random_sizes_takes_no_more_memory_in_the_end(
    made: Callable[[OnnxModel], OnnxModel], in_full: bool
) -> None:
    model = made(load_model(models.classifier(30, hidden=64).SerializeToString(), device="cpu", threads=ONE_THREAD))
    rng = np.random.default_rng(0)
    sizes = [*rng.integers(1, 65, 2000), *(16, 7, 7, 7) * 250]
    inputs = Shared([{"x": rng.standard_normal((rows, 30)).astype(np.float32)} for rows in sizes])

    assert growth_bytes(model, inputs, 1_000_000 if in_full else 30_000) < 8 * MIB


@each_way
@pytest.mark.timeout(3000)
def test_texts_of_random_lengths_take_no_more_memory_in_the_end(
    made: Callable[[OnnxModel], OnnxModel], in_full: bool
) -> None:
    model = made(load_model(minilm(), device="cpu", threads=ONE_THREAD))
    rng = np.random.default_rng(0)
    axes = {dim for spec in model.signature.inputs for dim in spec.dims[1:] if isinstance(dim, str)}
    shapes = [(rows, int(rng.integers(1, 65))) for rows in (*rng.integers(1, 17, 48), *(16, 7, 7, 7) * 4)]
    shapes = shapes if in_full else [(1 + rows % 4, 1 + length % 16) for rows, length in shapes]
    inputs = Shared(
        [synthetic_inputs(model.signature, rows, 0, lengths=dict.fromkeys(axes, length)) for rows, length in shapes]
    )

    assert growth_bytes(model, inputs, 4000 if in_full else 200) < 32 * MIB
