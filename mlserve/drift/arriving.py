"""A window read through: counted in the cells of the profile, sampled, answered, and named by what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from mlserve.core.progress import Progress, silent
from mlserve.drift.answering import PREDICT_ROWS, Run, answer_sample, answered
from mlserve.drift.profile import Profile
from mlserve.drift.quality import Arrived, window_summary
from mlserve.drift.sample import SIZE, DrawnRows, RowSample
from mlserve.drift.scanning import Scan, scan
from mlserve.drift.sources import Source, block_rows
from mlserve.drift.windows import Bounds


@dataclass(frozen=True, slots=True)
class WindowRows:
    """All that a check knows of a window. ``digest`` names what it holds, whatever files that lies in.

    ``arrived`` is what layer 0 judges, with the summaries of every column; ``sample`` are rows for the other layers, in
    the order that they were read, ``predicted`` how many rows have an answer and ``labelled`` how many a label.
    """

    digest: str
    bounds: Bounds
    arrived: Arrived
    sample: DrawnRows
    predicted: int
    labelled: int

    @property
    def rows(self) -> int:
        return self.arrived.rows


def read_window(
    profile: Profile,
    source: Source,
    run: Run | None,
    *,
    bounds: Bounds,
    sample_rows: int = SIZE,
    predict_rows: int = PREDICT_ROWS,
    progress: Progress = silent,
) -> WindowRows:
    """Read ``source`` through as a window of ``bounds``, to be held against ``profile``.

    ``run`` is asked for answers that the source has not, of all rows where the source says that they are at most
    ``predict_rows``, else of the sampled ones. Raises what the source raises.
    """
    total = source.total_rows
    asks_all = run is not None and total is not None and total <= predict_rows
    blocks = source.blocks(block_rows(total))
    found = scan(
        (answered(block, run) for block in blocks) if asks_all else blocks,
        profile.schema,
        profile.prediction,
        {name: window_summary(profile, name) for name in profile.summaries},
        RowSample(sample_rows),
        progress=progress,
        total_rows=total,
        step="reading the window",
    )
    sample = found.sample.drawn()
    is_whole = not source.faults.missing and not source.faults.retyped
    if run is not None and profile.prediction is not None and not found.predicted and found.rows and is_whole:
        sample = answer_sample(found, sample, profile.schema, profile.prediction, run)
    return WindowRows(
        found.fingerprint.digest, bounds, _arrived(source, found, bounds), sample, found.predicted, found.labelled
    )


def _arrived(source: Source, found: Scan, bounds: Bounds) -> Arrived:
    return Arrived(
        found.summaries,
        found.distinct,
        found.rows,
        found.estimated_rows,
        source.faults,
        bounds.start or _moment(found.first),
        bounds.end or _moment(found.last),
        _moment(found.last),
    )


def _moment(time: np.datetime64 | None) -> datetime | None:
    return None if time is None else time.astype("datetime64[us]").item().replace(tzinfo=UTC)
