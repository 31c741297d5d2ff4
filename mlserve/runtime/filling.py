"""Whether filling rows up to share a run pays: decided from what runs of several lengths cost, measured at load.

That filling up changes no answer (``padding``) says that it may be done, not that it should. Where the time of a run
grows with its elements and hardly has a fixed part, as on a CPU, rows in one run are hardly cheaper than each alone:
what is filled up is then lost, and so is the time that a short row waits for the long ones beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mlserve.core.settings import Buckets
from mlserve.core.tensors import Signature
from mlserve.errors import MlserveError
from mlserve.runtime.model import Arrays, OnnxModel
from mlserve.runtime.padding import Padding
from mlserve.runtime.providers import CPU
from mlserve.runtime.samples import synthetic_inputs

MIN_GAIN = 1.25
"""How many times cheaper a row must be in a run of filled-up rows. Requests of equal length share runs anyhow, which
takes from the gain, and answers wait for the longest row of their run: a small gain would be a loss in the end."""

LENGTHS = (16, 32, 64, 128)
TOGETHER_ROWS = 4
"""Rows of a run whose cost is compared with that of a row alone; as many of one bucket meet on a busy server."""

REPEATS = 3


@dataclass(frozen=True, slots=True)
class LengthCost:
    """The quickest runs of one length: of one row, and of ``TOGETHER_ROWS`` for each row in it."""

    length: int
    alone_s: float
    together_s: float


@dataclass(frozen=True, slots=True)
class Filling:
    """Whether requests of unlike length share a run, and what the metadata says of it."""

    is_used: bool
    shown: str


def decide_filling(asked: Buckets, padding: Padding | None, gain: float | None) -> Filling:
    """What to do for a model of this ``padding``; ``gain`` is ``gain_of``, None where it was not measured.

    >>> proven = Padding("exact", "", "length", "mask", 0.0, {})
    >>> decide_filling("auto", proven, 1.1)
    Filling(is_used=False, shown='off: a row is 1.10 times as cheap in company, and 1.25 is what pays')
    >>> decide_filling("on", proven, 1.1)
    Filling(is_used=True, shown='exact')
    """
    if padding is None:
        return Filling(is_used=False, shown="")
    if asked == "off":
        return Filling(is_used=False, shown="off")
    if not padding.is_inert:
        return Filling(is_used=False, shown=f"refused: {padding.reason}")
    if asked == "auto":
        if gain is None:
            return Filling(is_used=False, shown="off: what it would gain could not be measured")
        if gain < MIN_GAIN:
            shown = f"off: a row is {gain:.2f} times as cheap in company, and {MIN_GAIN:g} is what pays"
            return Filling(is_used=False, shown=shown)
    return Filling(is_used=True, shown=padding.exactness)


def gain_of(costs: Sequence[LengthCost], *, filled_share: float) -> float | None:
    """How many times cheaper rows are together, ``filled_share`` of their cells filled up, than each alone.

    Over one row of every length, so that long rows, which take most of the time, count most. None without costs.

    >>> round(gain_of([LengthCost(16, 6.0, 3.0), LengthCost(128, 26.0, 23.0)], filled_share=0.0), 2)
    1.23
    """
    together_s = sum(cost.together_s for cost in costs) * (1.0 + filled_share)
    return sum(cost.alone_s for cost in costs) / together_s if together_s > 0.0 else None


def measure_lengths(
    model: OnnxModel, padding: Padding, *, budget_s: float, clock: Callable[[], float] | None = None
) -> list[LengthCost]:
    """What runs cost by length, of as many of ``LENGTHS`` as fit in ``budget_s``; none for a model that refuses them.

    The quickest of a few runs in turn, by ``clock``, None for the one that what else the machine does bends least.
    """
    clock = clock or _clock_of(model)
    costs: list[LengthCost] = []
    deadline_s = clock() + budget_s
    for length in LENGTHS:
        try:
            alone, together = (_rows(model.signature, padding, rows, length) for rows in (1, TOGETHER_ROWS))
            started_s = clock()
            model.run(alone)
            model.run(together)
            if clock() + REPEATS * (clock() - started_s) > deadline_s:
                return costs
            alone_s, together_s = [], []
            for _ in range(REPEATS):
                alone_s.append(_time(model, alone, clock))
                together_s.append(_time(model, together, clock))
        except MlserveError:
            return costs
        costs.append(LengthCost(length, min(alone_s), min(together_s) / TOGETHER_ROWS))
    return costs


def _clock_of(model: OnnxModel) -> Callable[[], float]:
    """The processor time of this thread where it does all the work: on a busy machine long runs wait the most."""
    return time.thread_time if model.providers[0] == CPU and model.threads == 1 else time.perf_counter


def _rows(signature: Signature, padding: Padding, rows: int, length: int) -> Arrays:
    inputs = synthetic_inputs(signature, rows, 0, lengths={padding.axis: length})
    inputs[padding.mask] = np.ones_like(inputs[padding.mask])
    return inputs


def _time(model: OnnxModel, inputs: Arrays, clock: Callable[[], float]) -> float:
    started_s = clock()
    model.run(inputs)
    return clock() - started_s
