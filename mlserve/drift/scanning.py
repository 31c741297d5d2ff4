"""All rows of a reference or a window, read through once: summaries of every column, a sample, and what comes twice.

blocks ─► watched columns ─► a summary each        (bounded: cells, counted values)
                          ─► RowSample             (some thousand rows, whole)
                          ─► Distinct              (hashes)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from mlserve.core.progress import Progress, silent
from mlserve.drift.blocks import Block, watched
from mlserve.drift.categorical import CategorySummary
from mlserve.drift.distinct import Distinct
from mlserve.drift.effects import Summary
from mlserve.drift.fingerprint import Fingerprint
from mlserve.drift.hashing import row_hashes
from mlserve.drift.numeric import NumericSummary
from mlserve.drift.predictions import PREFIX, PredictionPlan, known_labels
from mlserve.drift.sample import RowSample
from mlserve.drift.schema import DriftSchema
from mlserve.rows.tables import Array

INPUT, OUTPUT, COLUMN, LABEL, TIME = "input.", "output.", "column.", "label", "time"
"""What the columns of a sample are called: the model's inputs and outputs, facets and predictions, label and time."""

THREADS = 2
"""Counting leaves the interpreter's lock to others, so columns go side by side."""


@dataclass(slots=True)
class Scan:
    """What was read. ``estimated_rows`` counts each row as often as it stands for; ``first`` and ``last`` are times.

    ``dtypes`` are the kinds of values (numpy's letter) that each column was seen to have.
    """

    summaries: dict[str, Summary]
    sample: RowSample
    distinct: Distinct = field(default_factory=Distinct)
    fingerprint: Fingerprint = field(default_factory=Fingerprint)
    rows: int = 0
    estimated_rows: float = 0.0
    labelled: int = 0
    predicted: int = 0
    first: np.datetime64 | None = None
    last: np.datetime64 | None = None
    dtypes: dict[str, set[str]] = field(default_factory=dict)


def scan(
    blocks: Iterable[Block],
    schema: DriftSchema,
    plan: PredictionPlan | None,
    empty: Mapping[str, Summary],
    sample: RowSample,
    *,
    after_block: Callable[[Scan, int], None] | None = None,
    progress: Progress = silent,
    total_rows: int | None = None,
    step: str = "reading rows",
) -> Scan:
    """Read ``blocks`` through, counting in ``empty`` summaries by column; a column without one is not summarised.

    ``after_block`` is called with what there is so far and the rows of the block.
    """
    found = Scan(dict(empty), sample)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="drift") as pool:
        for block in blocks:
            columns = watched(schema, plan, block)
            if not columns:
                _note(found, block)
                continue
            for name, values in columns.items():
                found.dtypes.setdefault(name, set()).add(values.dtype.kind)
            counted = [(found.summaries[name], values) for name, values in columns.items() if name in found.summaries]
            counting = [pool.submit(_count, summary, values) for summary, values in counted]
            _note(found, block)
            # Predictions are no part of a row's identity: they follow from it.
            own = {name: values for name, values in columns.items() if not name.startswith(PREFIX)}
            hashes = row_hashes(own)
            found.distinct.add(hashes)
            found.fingerprint.add(hashes, block.times, None if block.labels is None else _plain_labels(block.labels))
            found.sample.add(block.start, sample_columns(schema, block, columns), strata_of(columns, block))
            for one in counting:
                one.result()
            if after_block is not None:
                after_block(found, block.rows)
            progress(step, found.rows, total_rows)
    return found


def sample_columns(schema: DriftSchema, block: Block, columns: Mapping[str, Array]) -> dict[str, Array]:
    """The columns of ``block`` that a sample keeps, under the names that it has for them."""
    own = {feature.name for feature in schema.features if feature.kind.is_scalar}
    kept = {INPUT + name: array for name, array in block.inputs.items() if array.ndim}
    kept |= {OUTPUT + name: array for name, array in block.outputs.items() if array.ndim}
    kept |= {COLUMN + name: values for name, values in columns.items() if name not in own or name in block.columns}
    if block.labels is not None:
        kept[LABEL] = _plain_labels(block.labels)
    if block.times is not None:
        kept[TIME] = block.times.astype("datetime64[us]")
    return kept


def strata_of(columns: Mapping[str, Array], block: Block) -> Array | None:
    """The class that was predicted, else a label of few values; None where there is neither."""
    if f"{PREFIX}class" in columns:
        return columns[f"{PREFIX}class"]
    if block.labels is None or block.labels.dtype.kind == "f":
        return None
    return _plain_labels(block.labels).astype(str).astype(object)


def _count(summary: Summary, values: Array) -> None:
    if isinstance(summary, NumericSummary):
        summary.add(_as_numbers(values))
    else:
        summary.add(values)


def _as_numbers(values: Array) -> Array:
    """Text where numbers should be counts as null; that it is text is judged by its type."""
    if values.dtype.kind in "fiub":
        return values
    if values.dtype.kind in "mM":
        return values.astype("datetime64[us]").astype(np.float64)
    return np.array([_number(value) for value in values.tolist()], np.float64)


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _note(found: Scan, block: Block) -> None:
    found.rows += block.rows
    found.estimated_rows += float(block.rows if block.weights is None else block.weights.sum())
    found.predicted += block.rows if block.outputs else 0
    if block.labels is not None:
        found.labelled += int(np.count_nonzero(known_labels(block.labels)))
    if block.times is not None and len(block.times):
        times = block.times[~np.isnat(block.times)]
        if len(times):
            first, last = times.min(), times.max()
            found.first = first if found.first is None else min(found.first, first)
            found.last = last if found.last is None else max(found.last, last)


def _plain_labels(labels: Array) -> Array:
    """Labels with NaN for one that is not known, or None among texts."""
    known = known_labels(labels)
    plain = np.asarray(labels.data) if isinstance(labels, np.ma.MaskedArray) else labels
    if plain.dtype.kind in "iub" and known.all():
        return plain
    if plain.dtype.kind in "fiub":
        return np.where(known, plain.astype(np.float64), np.nan)
    texts = plain.astype(object)
    texts[~known] = None
    return texts


def blocks_of_sample(columns: Mapping[str, Array]) -> Iterator[Block]:
    """The rows of a sample as one block again, to be counted or asked about once more."""
    rows = len(next(iter(columns.values()), np.zeros(0)))
    if not rows:
        return
    yield Block(
        0,
        rows,
        {name.removeprefix(INPUT): array for name, array in columns.items() if name.startswith(INPUT)},
        {name.removeprefix(OUTPUT): array for name, array in columns.items() if name.startswith(OUTPUT)},
        columns.get(LABEL),
        columns.get(TIME),
    )


def empty_summaries(
    schema: DriftSchema, numeric_edges: Mapping[str, Array], known: Mapping[str, frozenset[str]]
) -> dict[str, Summary]:
    """A summary that has counted nothing for each column that has edges or known values."""
    bounds = {feature.name: feature for feature in schema.features}
    found: dict[str, Summary] = {}
    for name, edges in numeric_edges.items():
        said = bounds.get(name)
        low = said.low if said is not None and said.low is not None else -np.inf
        high = said.high if said is not None and said.high is not None else np.inf
        found[name] = NumericSummary(edges, low, high)
    return found | {name: CategorySummary(values) for name, values in known.items()}
