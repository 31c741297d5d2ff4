"""Whether it pays to fill rows up to a common length: how much cheaper a row is in a batch than alone.

Where the time of a run is nearly the time of its rows (a CPU that is busy from the first row on), requests of unlike
length gain nothing from sharing one, and each pays for the zeros beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from mlserve.runtime.model import OnnxModel
from mlserve.runtime.samples import synthetic_inputs

LENGTH = 32
ROWS = 4
REPEATS = 5
WORTH = 1.25
"""A row in a batch of four has to be so much cheaper than alone: about a fifth of what is run are zeros."""


def gain(model: OnnxModel, axis: str, *, clock: Callable[[], float] = time.perf_counter) -> float:
    """The time of a row alone over its time in a batch of four, all of 32 along ``axis``; by the quickest runs.

    Raises what ``run`` raises.
    """
    many = synthetic_inputs(model.signature, ROWS, 0, lengths={axis: LENGTH})
    one = {name: array[:1] for name, array in many.items()}
    alone_s, shared_s = float("inf"), float("inf")
    for _ in range(REPEATS):
        begun_s = clock()
        model.run(one)
        between_s = clock()
        model.run(many)
        alone_s, shared_s = min(alone_s, between_s - begun_s), min(shared_s, clock() - between_s)
    return ROWS * alone_s / max(shared_s, 1e-9)


def is_worth_it(found: float) -> bool:
    """Whether ``gain`` is large enough.

    >>> is_worth_it(1.15), is_worth_it(3.6)
    (False, True)
    """
    return found >= WORTH
