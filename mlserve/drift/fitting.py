"""``mlserve drift fit``: a reference becomes a profile, in two readings and bounded memory.

1st reading ─► sample ─► schema (kinds), plan of predictions, cells of every column
2nd reading ─► summaries over all rows, stratified sample, pieces in the order of time
            ─► noise, calibration ─► Profile
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import numpy as np

from mlserve.core.progress import Progress, silent
from mlserve.core.tensors import Signature
from mlserve.drift.answering import PREDICT_ROWS, Run, answer_sample, answered
from mlserve.drift.blocks import Block, watched
from mlserve.drift.calibration import Bin, calibration_map, sureness
from mlserve.drift.categorical import CategorySummary
from mlserve.drift.columns import columns_of
from mlserve.drift.noise import Pieces, noise_of
from mlserve.drift.numeric import edges_of
from mlserve.drift.predictions import CATEGORICAL, PredictionPlan, plan_of
from mlserve.drift.profile import Profile, Reference
from mlserve.drift.said import Said
from mlserve.drift.sample import SIZE, DrawnRows, RowSample
from mlserve.drift.scanning import (
    COLUMN,
    INPUT,
    LABEL,
    OUTPUT,
    Scan,
    blocks_of_sample,
    empty_summaries,
    sample_columns,
    scan,
)
from mlserve.drift.schema import DriftSchema, derive_schema
from mlserve.drift.sources import Source, block_rows
from mlserve.errors import InvalidInput
from mlserve.rows.tables import Array

Arrays = Mapping[str, Array]

FEWEST_ROWS = 50
"""A reference of fewer rows says nothing that a window could be held against."""


@dataclass(frozen=True, slots=True)
class FitPlan:
    """What to fit for: the version's digest and signature, what the user said, and detectors by name if any.

    A reference of more than ``predict_rows`` rows is answered by the model only where it was sampled. With ``terms``,
    another profile of the version, features, predictions and bounds are as there, so that the two can be compared.
    """

    model_digest: str
    signature: Signature
    said: Said = field(default_factory=Said)
    detectors: tuple[str, ...] = ()
    sample_rows: int = SIZE
    predict_rows: int = PREDICT_ROWS
    terms: Profile | None = None


def fit(source: Source, plan: FitPlan, run: Run | None, *, progress: Progress = silent) -> Profile:
    """The profile of the version whose reference ``source`` has.

    ``run`` is asked for the answers that the source does not have; None watches no predictions. The same source and
    plan make the same profile. Raises InvalidInput for fewer than ``FEWEST_ROWS`` rows, and what the source raises.
    """
    rows = block_rows(source.total_rows)
    first, head, is_ordered = _first_reading(source, rows, plan.sample_rows, progress)
    if first.rows < FEWEST_ROWS:
        raise InvalidInput(f"the reference has {first.rows} rows, and {FEWEST_ROWS} are needed at least")
    drawn = first.drawn().uniform()
    known = {name.removeprefix(INPUT): values for name, values in drawn.items() if name.startswith(INPUT)}
    schema = (
        derive_schema(plan.signature, {**head, **known}, names=source.names, said=plan.said)
        if plan.terms is None
        else plan.terms.schema
    )
    # Inputs whose rows differ in length are in no sample; the first block has them, as far as it goes.
    some = blocks_of_sample(drawn) if known else islice(source.blocks(rows), 1)
    samples = [answered(block, run) for block in some]
    predicting = _plan_of(samples, schema) if plan.terms is None else plan.terms.prediction
    empty = _empty(schema, predicting, samples)
    asks_all = run is not None and not _has_outputs(samples, known, drawn) and first.rows <= plan.predict_rows
    pieces = Pieces()
    found = scan(
        (answered(block, run) if asks_all else block for block in source.blocks(rows)),
        schema,
        predicting,
        empty,
        RowSample(plan.sample_rows),
        after_block=(lambda so_far, count: pieces.add(so_far.summaries, count)) if is_ordered else None,
        progress=progress,
        total_rows=first.rows,
        step="counting the reference",
    )
    sample = found.sample.drawn()
    if predicting is not None and not found.predicted and run is not None:
        sample = answer_sample(found, sample, schema, predicting, run)
    progress("measuring its noise", 0, None)
    return Profile(
        model_digest=plan.model_digest,
        reference=_reference(source, found),
        schema=schema,
        summaries=found.summaries,
        noise={
            name: noise_of(name, summary, pieces if is_ordered and pieces.has(name) else None)
            for name, summary in found.summaries.items()
        },
        prediction=predicting,
        calibration=_calibration(predicting, sample),
        duplicate_share=round(found.distinct.duplicate_share, 6),
        detectors=plan.detectors,
        sample=sample,
    )


def _first_reading(
    source: Source, rows: int, size: int, progress: Progress
) -> tuple[RowSample, dict[str, Array], bool]:
    """A simple random sample, the inputs of the first block, and whether rows come in the order of their times."""
    sample = RowSample(size, floor=0)
    head: dict[str, Array] = {}
    middles: list[float] = []
    has_times = True
    for block in source.blocks(rows):
        head = head or dict(block.inputs)
        sample.add(block.start, sample_columns(DriftSchema(()), block, {}))
        if block.times is None or not len(block.times) or np.isnat(block.times).all():
            has_times = False
        else:
            middles.append(float(np.median(block.times[~np.isnat(block.times)].astype(np.int64))))
        progress("sampling the reference", sample.rows, source.total_rows)
    return sample, head, has_times and bool((np.diff(middles) >= 0).all())


def _has_outputs(samples: Sequence[Block], known: Arrays, drawn: Arrays) -> bool:
    """Whether the source itself had answers."""
    return any(name.startswith(OUTPUT) for name in drawn) if known else any(block.outputs for block in samples)


def _plan_of(samples: Sequence[Block], schema: DriftSchema) -> PredictionPlan | None:
    block = samples[0]
    return plan_of(block.outputs, score=schema.score, labels=block.labels) if block.outputs else None


def _empty(schema: DriftSchema, plan: PredictionPlan | None, samples: Sequence[Block]) -> dict[str, Any]:
    """Empty summaries, with the cells and the categories that the sample shows."""
    is_categorical = {column.name: column.is_categorical for column in columns_of(schema)}
    edges: dict[str, Array] = {}
    known: dict[str, frozenset[str]] = {}
    columns = _all_columns(schema, plan, samples)
    for name, values in columns.items():
        if is_categorical.get(name, name in CATEGORICAL):
            counted = CategorySummary()
            counted.add(values)
            known[name] = frozenset(counted.counts)
        else:
            edges[name] = edges_of(values.astype(np.float64) if values.dtype.kind != "f" else values)
    found = empty_summaries(schema, edges, known)
    return {name: found[name] for name in columns}


def _all_columns(schema: DriftSchema, plan: PredictionPlan | None, samples: Iterable[Block]) -> dict[str, Array]:
    parts = [watched(schema, plan, block) for block in samples]
    return {name: np.concatenate([part[name] for part in parts if name in part]) for name in parts[0]}


def _calibration(plan: PredictionPlan | None, sample: DrawnRows) -> tuple[Bin, ...]:
    if plan is None or LABEL not in sample.columns:
        return ()
    predicted = {name.removeprefix(COLUMN): values for name, values in sample.columns.items() if COLUMN in name}
    found = sureness(plan, predicted, sample.columns[LABEL])
    if found is None:
        return ()
    probabilities, happened, known = found
    return tuple(calibration_map(probabilities, happened, sample.weights[known]))


def _reference(source: Source, found: Scan) -> Reference:
    return Reference(
        source.digest,
        source.kind,
        found.rows,
        found.estimated_rows,
        found.labelled,
        found.predicted,
        _moment(found.first),
        _moment(found.last),
    )


def _moment(time: np.datetime64 | None) -> datetime | None:
    return None if time is None else time.astype("datetime64[us]").item().replace(tzinfo=UTC)
