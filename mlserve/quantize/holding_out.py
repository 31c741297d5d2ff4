"""Evaluation rows that a method has not calibrated on: those it has would flatter it, so they are left out."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import numpy as np

from mlserve.errors import InvalidInput
from mlserve.quantize.calibration import Calibration
from mlserve.rows.reading import RowBatch, Rows

Array = np.ndarray[Any, np.dtype[Any]]

MAX_SHARED = 0.2
"""Of the evaluation rows; above it they are not a sample of their own, whatever is left of them."""

_DIGEST_BYTES = 16


class HeldOut:
    """The rows of ``rows`` whose inputs are not among ``seen`` (digests), streamed; ``dropped`` and ``total`` count.

    A model whose calls have a fixed number of rows loses the whole call that a seen row is in.
    """

    def __init__(self, rows: Rows, seen: frozenset[bytes], *, dropped: int = 0, total: int | None = None) -> None:
        self._rows = rows
        self._seen = seen
        self.dropped = dropped
        self.total_rows = rows.total_rows if total is None else total
        self.has_fixed_rows = rows.has_fixed_rows

    @property
    def digest(self) -> str:
        """The sha256 address of the file, dropped rows included."""
        return self._rows.digest

    @property
    def size_bytes(self) -> int:
        return self._rows.path.stat().st_size

    def without(self, seen: frozenset[bytes]) -> HeldOut:
        """These rows but for those with a digest in ``seen``, which count as neither dropped nor there."""
        total = None if self.total_rows is None else self.total_rows - len(seen)
        return HeldOut(self._rows, self._seen | seen, dropped=self.dropped, total=total)

    def batches(self, rows: int = 1024) -> Iterator[RowBatch]:
        """As ``Rows.batches``, but for the rows that are dropped."""
        for batch in self._rows.batches(rows):
            kept = _unseen(batch, self._seen) if self._seen else None
            if kept is None or kept.all():
                yield batch
            elif kept.any() and not self.has_fixed_rows:
                yield batch.take(np.flatnonzero(kept))


def hold_out(rows: Rows, calibration: Calibration | None) -> HeldOut:
    """``rows`` without those that ``calibration`` uses. Raises InvalidInput above ``MAX_SHARED`` of them."""
    if calibration is None:
        return HeldOut(rows, frozenset())
    seen = digests_of(calibration)
    total = dropped = 0
    for batch in rows.batches():
        kept = _unseen(batch, seen)
        total += len(kept)
        dropped += len(kept) if rows.has_fixed_rows and not kept.all() else int((~kept).sum())
    if dropped > MAX_SHARED * total:
        raise InvalidInput(
            f"{dropped} of the {total} rows of '{rows.path}' are among those calibrated on, more than {MAX_SHARED:.0%}",
            hint="--evaluate with rows that --calibrate does not hold",
        )
    return HeldOut(rows, seen, dropped=dropped, total=total)


def digests_of(calibration: Calibration) -> frozenset[bytes]:
    """A digest of the inputs of each distinct row to calibrate on."""
    return frozenset(digest for batch in calibration.batches(1024) for digest in row_digests(batch))


def row_digests(batch: RowBatch) -> list[bytes]:
    """A digest of each row's inputs, labels and keys aside; one in all for a call whose arrays are not rows."""
    whole = not batch.has_rows
    digests = []
    for row in range(1 if whole else batch.rows):
        digest = blake2b(digest_size=_DIGEST_BYTES)
        for name in sorted(batch.inputs):
            array = batch.inputs[name]
            _update(digest, array if whole or not array.ndim else array[row])
        digests.append(digest.digest())
    return digests


def _unseen(batch: RowBatch, seen: frozenset[bytes]) -> Array:
    return np.array([digest not in seen for digest in row_digests(batch)], dtype=bool)


def _update(digest: Any, value: Any) -> None:
    array = np.asarray(value)
    digest.update(f"{array.dtype.kind}{array.shape}".encode())
    if array.dtype.kind == "O":
        for text in array.ravel().tolist():
            encoded = str(text).encode("utf-8", "surrogateescape")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
    else:
        digest.update(array.tobytes())
