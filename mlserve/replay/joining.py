"""Small batches joined to one, and its answers parted again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from mlserve.replay.answering import Answered
from mlserve.rows.captured import EACH_NUMBER, EACH_TEXT, CapturedBatch, Texts


def joined(batches: Sequence[CapturedBatch]) -> CapturedBatch:
    """``batches``, each of which ``continues`` the one before it, as one; the place is the last one's."""
    head = batches[0]
    if len(batches) == 1:
        return head
    fields: dict[str, Any] = {
        name: Texts(pa.concat_arrays([getattr(batch, name).column for batch in batches])) for name in EACH_TEXT
    }
    fields |= {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in EACH_NUMBER}
    for role in ("inputs", "outputs"):
        fields[role] = {
            name: np.concatenate([getattr(batch, role)[name] for batch in batches]) for name in getattr(head, role)
        }
    left_out: Counter[str] = Counter()
    for batch in batches:
        left_out.update(batch.left_out)
    return replace(head, **fields, left_out=left_out, place=batches[-1].place)


def joined_answers(parts: Sequence[Answered], batches: Sequence[CapturedBatch]) -> Answered:
    """The answers to ``batches`` as those to all of them joined."""
    if len(parts) == 1:
        return parts[0]
    failed: dict[int, str] = {}
    before = 0
    for part, batch in zip(parts, batches, strict=True):
        failed |= {before + at: error for at, error in part.failed.items()}
        before += batch.requests
    names = next((list(part.outputs) for part in parts if part.outputs), [])
    outputs = {name: np.concatenate([part.outputs[name] for part in parts if part.outputs]) for name in names}
    return Answered(outputs, np.concatenate([part.took_s for part in parts]), failed)


def parted(answered: Answered, batch: CapturedBatch, first: int, end: int) -> Answered:
    """Of the answers to ``batch`` those to its requests ``first`` to ``end``."""
    rows = batch.rows_each.copy()
    rows[list(answered.failed)] = 0
    bounds = slice(int(rows[:first].sum()), int(rows[:end].sum()))
    failed = {at - first: error for at, error in answered.failed.items() if first <= at < end}
    outputs = {name: array[bounds] for name, array in answered.outputs.items()}
    if len(failed) == end - first:
        outputs = {}
    return Answered(outputs, answered.took_s[first:end].copy(), failed)
