"""Rows without an answer, answered by the model: all of them, or where there are very many those of the sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from mlserve.drift.blocks import Block, watched
from mlserve.drift.predictions import PREFIX, PredictionPlan
from mlserve.drift.sample import DrawnRows
from mlserve.drift.scanning import COLUMN, OUTPUT, Scan, blocks_of_sample
from mlserve.drift.schema import DriftSchema
from mlserve.rows.tables import Array

Run = Callable[[Mapping[str, Array]], dict[str, Array]]
"""The model: any number of rows by input to its outputs."""

PREDICT_ROWS = 200_000
"""Of more rows the model is asked only about the sample."""


def answered(block: Block, run: Run | None) -> Block:
    """``block`` with the outputs that it lacks, as the model gives them."""
    if block.outputs or run is None or not block.can_run:
        return block
    return replace(block, outputs=run(block.inputs))


def answer_sample(found: Scan, sample: DrawnRows, schema: DriftSchema, plan: PredictionPlan, run: Run) -> DrawnRows:
    """The sample with answers, and the summaries of predictions counted over its simple random part."""
    columns = dict(sample.columns)
    for block in blocks_of_sample(columns):
        whole = answered(block, run)
        predicted = {n: v for n, v in watched(schema, plan, whole).items() if n.startswith(PREFIX)}
        columns |= {OUTPUT + name: array for name, array in whole.outputs.items() if np.ndim(array)}
        columns |= {COLUMN + name: values for name, values in predicted.items()}
        for name, values in predicted.items():
            if name in found.summaries:
                found.summaries[name].add(values[sample.is_uniform])
        found.predicted = int(sample.is_uniform.sum())
    return replace(sample, columns=columns)
