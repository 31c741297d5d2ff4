"""Requests that were answered together, as they were: what is kept of a run while others are answered.

Without Arrow, which whoever records nothing on disk need not load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from mlserve.core.tensors import Signature

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]


class Source(msgspec.Struct, frozen=True, eq=False):
    """The version that answered: its name, number and digest, and what it takes and gives."""

    model: str
    version: int
    digest: str | None
    signature: Signature


class Recorded(msgspec.Struct, gc=False):
    """Requests of one run, in its order; sequences have one entry each, and None stands for what they mostly are.

    ``rows`` None: one each. ``stage`` is what all were answered for, but those at which ``pinned`` is True, who asked
    for the version. ``unit_keys`` are hashes. ``asked`` are the outputs that each was answered with, None for all.
    ``inputs`` and ``outputs`` have the rows of all on axis 0, or where not ``is_sliced`` the tensors of the only one as
    they stand; None where there are none. Times are seconds on one clock, whose zero is ``epoch_s`` since 1970.
    """

    source: Source
    ids: Sequence[bytes]
    arrived_s: Sequence[float]
    status: int
    inputs: Arrays | None
    outputs: Arrays | None
    is_sliced: bool
    epoch_s: float
    stage: str = ""
    rows: Sequence[int] | None = None
    pinned: Sequence[bool] | None = None
    unit_keys: Sequence[str | None] | None = None
    asked: Sequence[tuple[str, ...] | None] | None = None
    first_rows: Sequence[int] | None = None
    taken_s: float | None = None
    compute_s: float = 0.0
    batch_id: int = -1
    batch_rows: int = 0

    @property
    def requests(self) -> int:
        return len(self.ids)

    @property
    def size_bytes(self) -> int:
        """Roughly what it keeps in memory."""
        size = 300 * len(self.ids)
        for arrays in (self.inputs, self.outputs):
            for array in () if arrays is None else arrays.values():
                size += array.nbytes if array.dtype.kind != "O" else 100 * array.size
        return size
