"""Captures to test with: what was recorded, and a writer of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.traffic.recorded import Recorded, Source
from mlserve.traffic.redaction import Redaction
from mlserve.traffic.writing import CapturePlan, CaptureWriter

EPOCH_S = datetime(2026, 11, 27, 5, 30, tzinfo=UTC).timestamp()
SIGNATURE = Signature(
    (TensorSpec("x", DType.FLOAT32, ("batch", 3)),),
    (TensorSpec("label", DType.INT64, ("batch",)), TensorSpec("p", DType.FLOAT32, ("batch", 2))),
)
SOURCE = Source("fraud", 2, "sha256:" + "0" * 64, SIGNATURE)


def recorded(rows: Sequence[int] = (1, 1, 1), *, start: int = 0, at_s: float = 10.0, **changes: Any) -> Recorded:
    """Requests of so many rows each, whose values count up from ``start``."""
    total = sum(rows)
    x = np.arange(3 * total, dtype=np.float32).reshape(total, 3) + np.float32(start)
    fields: dict[str, Any] = {
        "source": SOURCE,
        "ids": [b"id-%d" % (start + n) for n in range(len(rows))],
        "arrived_s": [at_s + n / 1e3 for n in range(len(rows))],
        "status": 200,
        "inputs": {"x": x},
        "outputs": {"label": np.arange(total) + start, "p": x[:, :2] / np.float32(7)},
        "is_sliced": True,
        "epoch_s": EPOCH_S,
        "stage": "production",
        "rows": None if set(rows) <= {1} else list(rows),
        "taken_s": at_s + 0.5,
        "compute_s": 0.002,
        "batch_id": 1,
        "batch_rows": total,
    }
    return Recorded(**(fields | changes))


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 27, 5, 31, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def writer(folder: Path, clock: Clock | None = None, server: str = "s1", **plan: Any) -> CaptureWriter:
    return CaptureWriter(CapturePlan(folder, **plan), server, clock or Clock())


def captured(folder: Path, *parts: Recorded, redaction: Redaction | None = None) -> Path:
    """A sealed capture of ``parts``, each written by itself."""
    one = writer(folder, redaction=redaction or Redaction())
    for part in parts or (recorded(),):
        one.write([part])
    one.close()
    return folder
