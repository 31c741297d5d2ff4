"""What a window holds, as a digest that does not depend on the order or the pieces that its rows came in.

Traffic of several servers lies in several files, and segments become Parquet: the same rows must be the same window.
Two sums of 64 bits over hashes of rows; against chance, not against somebody who chooses rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlserve.core.digests import canonical_json, digest_bytes
from mlserve.rows.tables import Array
from mlserve.stats.hashing import mixed, text_keys, value_keys

_SALT = np.uint64(0x5851F42D4C957F2D)
_MASK = (1 << 64) - 1


@dataclass(slots=True)
class Fingerprint:
    """Of rows with their times and labels: a label that was told since makes another window of the same rows."""

    rows: int = 0
    one: int = 0
    other: int = 0

    def add(self, hashes: Array, times: Array | None = None, labels: Array | None = None) -> None:
        """Take in rows by their hashes, (rows,) uint64; ``times`` datetime64, ``labels`` NaN or None where unknown."""
        if times is not None:
            hashes = mixed(hashes ^ value_keys(times.astype("datetime64[us]").astype(np.int64)))
        if labels is not None:
            is_text = labels.dtype.kind == "O"
            keys = text_keys([str(label) for label in labels.tolist()]) if is_text else value_keys(labels)
            hashes = mixed(hashes + keys)
        self.rows += len(hashes)
        self.one = (self.one + int(mixed(hashes).sum(dtype=np.uint64))) & _MASK
        self.other = (self.other + int(mixed(hashes ^ _SALT).sum(dtype=np.uint64))) & _MASK

    @property
    def digest(self) -> str:
        """As a content address.

        >>> forwards, backwards = Fingerprint(), Fingerprint()
        >>> forwards.add(np.array([1, 2, 2], np.uint64))
        >>> for hashes in ([2], [2, 1]):
        ...     backwards.add(np.array(hashes, np.uint64))
        >>> forwards.digest == backwards.digest
        True
        """
        return digest_bytes(canonical_json([self.rows, f"{self.one:016x}", f"{self.other:016x}"]))
