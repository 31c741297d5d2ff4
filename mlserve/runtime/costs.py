"""What a run costs, measured when a version is loaded: T(b) = α + β·b seconds for b rows.

From it follow where it runs (on the event loop, or in a lane, whose two thread switches cost 50–100 µs) and how many
rows are worth taking at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from mlserve.runtime.model import OnnxModel
from mlserve.runtime.operators import CONTROL_FLOW

INLINE_LIMIT_S = 250e-6
"""A run of one row longer than this goes to a lane."""

INLINE_BATCH_S = 1e-3
"""The longest that one batch may keep the event loop."""

MAX_ROWS = 256
FIXED_SHARE = 0.1
"""A batch is large enough when α is no more than this part of its time."""

FEW, MANY = 1, 32
SIZES = (MANY, 8)
"""With a few rows, reading the weights is most of the time; only with many does it show what a row more costs."""

BETWEEN = (2, 4, 8, 16)
"""Sizes tried between one row and many: where a row becomes as cheap as it gets is seldom on the line through both."""

NEAR = 1.05
"""A row is as cheap as it gets within this factor; a larger batch then only keeps its requests waiting longer."""

REPEATS = 15
WARM_RUNS = 3


@dataclass(frozen=True, slots=True)
class Costs:
    """``alpha_s`` a run, ``beta_s`` a row more; the time of a model with control flow is known only for what ran.

    ``knee_rows`` is the smallest batch in which a row was as cheap as in any; None where that is not known, or where a
    row still became cheaper in the largest batch that was tried.
    """

    alpha_s: float
    beta_s: float
    has_control_flow: bool
    knee_rows: int | None = None

    @property
    def is_inline(self) -> bool:
        """Whether a run is short enough to be made on the event loop, whatever the values in it."""
        return not self.has_control_flow and self.alpha_s + self.beta_s <= INLINE_LIMIT_S

    def useful_rows(self) -> int:
        """The number of rows beyond which a larger batch gains next to nothing, a power of two up to 256.

        >>> Costs(alpha_s=0.001, beta_s=0.009, has_control_flow=False).useful_rows()
        2
        """
        if self.knee_rows is not None and not self.is_inline:
            return self.knee_rows
        if self.beta_s <= 0.0:
            return MAX_ROWS
        enough = self.alpha_s / (FIXED_SHARE * self.beta_s)
        if self.is_inline:
            # Batches also share the Python around a run, so take all that the loop can spare.
            enough = (INLINE_BATCH_S - self.alpha_s) / self.beta_s
        rows = 1
        while rows < enough and rows < MAX_ROWS:
            rows *= 2
        return rows


def measure(
    model: OnnxModel,
    inputs: Mapping[str, np.ndarray[Any, Any]],
    *,
    batchable: bool,
    budget_s: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Costs:
    """The costs of ``model`` on ``inputs`` (32 rows or more where ``batchable``, else one request's arrays).

    Takes about ``budget_s`` at most once the first run is over, and is the warm-up too. Where not even eight rows fit
    in it, a batch is taken to gain nothing. Raises what ``run`` raises.
    """
    one = {name: array[:FEW] for name, array in inputs.items()} if batchable else dict(inputs)
    has_control_flow = not CONTROL_FLOW.isdisjoint(model.operators)
    deadline_s = clock() + budget_s
    ones_s = _times(model, one, deadline_s, clock)
    one_s = median(ones_s)
    if not batchable:
        return Costs(one_s, 0.0, has_control_flow)
    left_s = deadline_s - clock()
    many = next((size for size in SIZES if size * one_s <= left_s), None)
    if many is None:
        return Costs(0.0, one_s, has_control_flow)
    manys_s = _times(model, _first(inputs, many), deadline_s, clock)
    many_s = median(manys_s)
    beta_s = max(0.0, (many_s - one_s) / (many - FEW))
    costs = Costs(max(0.0, one_s - beta_s), beta_s, has_control_flow)
    if costs.is_inline:
        return costs
    return replace(costs, knee_rows=_knee(model, inputs, {FEW: min(ones_s), many: min(manys_s)}, deadline_s, clock))


def _knee(
    model: OnnxModel,
    inputs: Mapping[str, np.ndarray[Any, Any]],
    known_s: Mapping[int, float],
    deadline_s: float,
    clock: Callable[[], float],
) -> int | None:
    """The smallest batch in which a row is as cheap as it gets; its runs are the warm-up of these sizes too.

    By the quickest run of each size, so that a machine that is busy with something else bends nothing.
    """
    row_s = {rows: seconds / rows for rows, seconds in known_s.items()}
    largest = max(row_s)
    for rows in BETWEEN:
        if rows < largest and clock() < deadline_s:
            row_s[rows] = min(_times(model, _first(inputs, rows), deadline_s, clock)) / rows
    enough = NEAR * min(row_s.values())
    knee = min(rows for rows, seconds in row_s.items() if seconds <= enough)
    return None if knee == largest else knee


def _first(inputs: Mapping[str, np.ndarray[Any, Any]], rows: int) -> dict[str, np.ndarray[Any, Any]]:
    return {name: array[:rows] for name, array in inputs.items()}


def _times(
    model: OnnxModel, inputs: Mapping[str, np.ndarray[Any, Any]], deadline_s: float, clock: Callable[[], float]
) -> list[float]:
    """How long runs take, the first ones not counted; as few as one run where the time is up."""
    times: list[float] = []
    for _ in range(WARM_RUNS + REPEATS):
        start = clock()
        model.run(inputs)
        end = clock()
        times.append(end - start)
        if end > deadline_s:
            break
    return times[WARM_RUNS:] or times[-1:]
