"""Outcomes to test with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlserve.rows.outcome_log import NO_TIME, WHOLE, Entries
from mlserve.traffic.outcomes import OutcomeWriter
from tests.traffic.making import EPOCH_S


def entries(
    ids: Sequence[str],
    labels: Sequence[Any],
    rows: Sequence[int] | None = None,
    times: Sequence[int] | None = None,
    received: Sequence[int] | None = None,
) -> Entries:
    """Labels of requests, of whole ones unless ``rows`` are given."""
    count = len(ids)
    is_text = any(isinstance(label, str) for label in labels)
    return Entries(
        pa.array(ids, pa.string()),
        np.full(count, WHOLE, np.int64) if rows is None else np.array(rows, np.int64),
        np.array(labels, object) if is_text else np.array(labels),
        np.full(count, NO_TIME, np.int64) if times is None else np.array(times, np.int64),
        np.zeros(count, np.int64) if received is None else np.array(received, np.int64),
    )


def noon() -> int:
    """A moment after the requests, in nanoseconds since 1970."""
    return int((EPOCH_S + 3600) * 1e9)


def recorder(folder: Path, model: str = "fraud") -> OutcomeWriter:
    return OutcomeWriter(folder, model, noon)
