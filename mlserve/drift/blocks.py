"""Rows on their way through a check: what was asked, answered and turned out, some ten thousand at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlserve.drift import predictions
from mlserve.drift.columns import split
from mlserve.drift.predictions import PredictionPlan
from mlserve.drift.schema import DriftSchema
from mlserve.rows.tables import Array

BLOCK_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class Block:
    """Rows ``start`` (from 0) onwards, on axis 0 of every array.

    ``inputs`` and ``outputs`` are by the model's names, ``outputs`` empty where they are not known. ``labels`` (rows,)
    are masked, NaN or None where unknown; ``times`` (rows,) datetime64[us] in UTC; ``weights`` (rows,) how many each
    row stands for, None for one. ``columns`` are features that came by name and fit no input as they are (a window's
    file with a column missing or of another type); by the feature's name. ``can_run`` is False where the model cannot
    be asked about such rows.
    """

    start: int
    rows: int
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array] = field(default_factory=dict)
    labels: Array | None = None
    times: Array | None = None
    weights: Array | None = None
    columns: Mapping[str, Array] = field(default_factory=dict)
    can_run: bool = True


def watched(schema: DriftSchema, plan: PredictionPlan | None, block: Block) -> dict[str, Array]:
    """Every column of ``block`` that can be watched, (rows,) each: features, facets, predictions."""
    columns = split(schema, block.inputs) | dict(block.columns)
    if plan is not None and block.outputs:
        columns |= predictions.columns_of(plan, block.outputs, block.labels)
    return columns
