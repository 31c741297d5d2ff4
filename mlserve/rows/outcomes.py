"""Labels for captured requests: the logs of outcomes beside a capture, joined by request id when they are read.

    logs ──frames──► blocks, sorted by a hash of (request id, row) ──searched, ids compared──► labels of rows

Because the join happens here, a label that came before its request was on disk is found all the same later.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlserve.errors import InvalidInput
from mlserve.rows.frames import Frames
from mlserve.rows.outcome_log import (
    BATCH,
    NO_TIME,
    WHOLE,
    Array,
    Entries,
    join,
    joined_labels,
    logs_of,
    read_header,
    unpacked,
)
from mlserve.rows.text_hashes import hashes_of, mixed

_SEED = secrets.randbits(63)
"""Of this process alone, so that nobody can choose ids that collide."""

_READ_ROWS = 1 << 20
Place = tuple[int, int, int]
"""Of a log: its inode, where it was read to, and how many frames that is."""


class Outcomes:
    """What is known of the requests of one capture: of each request and row the label that came last.

    About 90 bytes of memory an outcome, twice that while they are read. ``refresh`` takes in what has been written
    since; a log that is not there yet, or has a broken end, is read as far as it goes.
    """

    def __init__(self, logs: Sequence[Path]) -> None:
        self._logs = list(logs)
        self._places: dict[Path, Place] = {}
        self._blocks: list[_Block] = []
        self.refresh()

    @classmethod
    def open(cls, capture: Path, model: str | None = None) -> Self:
        """The outcomes beside ``capture``, a folder or a file of one; of ``model`` alone where it has several.

        Raises InvalidInput for a log that is none, or labels that are text and numbers; Unsupported for a newer one.
        """
        logs = [log for log in logs_of(capture) if (header := read_header(log)) and model in (None, header.model)]
        return cls(logs)

    def __len__(self) -> int:
        """How many labels there are; a correction that was not merged yet counts again."""
        return sum(len(block.entries) for block in self._blocks)

    @property
    def newest(self) -> int:
        """When the last entry was recorded, in nanoseconds since 1970; 0 for none."""
        return max((block.newest for block in self._blocks), default=0)

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """What holds the labels: bool, int64, float64, or object for text; None where there are none."""
        if not self._blocks:
            return None
        return np.result_type(*[block.entries.labels.dtype for block in self._blocks])

    def place(self, log: Path) -> tuple[int, int]:
        """Up to which byte, and how many frames, ``log`` was read."""
        _, end, frames = self._places.get(log, (0, 0, 0))
        return end, frames

    def refresh(self) -> None:
        """Read what has been added to the logs; one that was written anew (something was erased) from its beginning."""
        for log in self._logs:
            try:
                with log.open("rb") as file:
                    self._read(log, file)
            except FileNotFoundError:
                continue
            except pa.ArrowException as error:
                raise InvalidInput(f"'{log}' cannot be read: {error}") from error

    def _read(self, log: Path, file: Any) -> None:
        inode = os.fstat(file.fileno()).st_ino
        known = self._places.get(log)
        if known is not None and known[0] != inode:
            self._places.clear()
            self._blocks.clear()
            return self.refresh()
        frames = Frames(file, *(known or (0, 0, 0))[1:])
        held: list[Entries] = []
        for frame in frames:
            if frame.kind == BATCH:
                held += unpacked(frame.payload)
            if sum(map(len, held)) >= _READ_ROWS:
                self._add(held, log)
                held = []
        self._add(held, log)
        self._places[log] = inode, frames.end, frames.number
        return None

    def _add(self, held: list[Entries], log: Path) -> None:
        try:
            if held:
                self.add(join(held))
        except InvalidInput as error:
            raise InvalidInput(f"of the outcomes in '{log}' {error.message}") from error

    def add(self, entries: Entries) -> None:
        """Know ``entries`` too; of one request and row the last recorded holds, of equally late ones the last given.

        Raises InvalidInput for text where there are numbers, or the reverse.
        """
        if not len(entries):
            return
        if self._blocks:
            joined_labels([self._blocks[0].entries.labels[:1], entries.labels[:1]])
        self._blocks.append(_Block(entries))
        # Each block is at least twice the next, so there are few of them and each entry is sorted a few times.
        while len(self._blocks) > 1 and len(self._blocks[-2].entries) < 2 * len(self._blocks[-1].entries):
            last, before = self._blocks.pop(), self._blocks.pop()
            self._blocks.append(before.merged(last))

    def skip_to(self, log: Path, inode: int, end: int, frames: int) -> None:
        """What stands in ``log`` up to there has been added already, by who wrote it."""
        self._places[log] = inode, end, frames

    def find(self, ids: pa.Array, rows: Array) -> tuple[Array, Array]:
        """The label of each of ``ids`` at its row (``WHOLE``: the whole request's), and whether there is one.

        Where there is none, the label is any value.
        """
        dtype = self.dtype or np.dtype(bool)
        labels, known = np.zeros(len(ids), dtype), np.zeros(len(ids), bool)
        received = np.full(len(ids), -1, np.int64)
        keys = keys_of(ids, rows)
        for block in self._blocks:
            at = block.find(keys, ids, rows)
            is_newer = at >= 0
            is_newer[is_newer] = block.entries.received[at[is_newer]] >= received[is_newer]
            labels[is_newer] = block.entries.labels[at[is_newer]]
            received[is_newer] = block.entries.received[at[is_newer]]
            known |= is_newer
        return labels, known

    def labels(
        self, request_ids: Sequence[str] | pa.Array, rows_each: Array, first_rows: Array | None = None
    ) -> np.ma.MaskedArray[Any, Any] | None:
        """The label of each row of requests, masked where none is known; None where nothing is known of any request.

        ``rows_each`` are how many rows each has, ``first_rows`` where they begin in the request (None: at 0). A label
        without a row holds for every row of its request that has none of its own. Shape: (sum of ``rows_each``,).
        """
        if not self._blocks:
            return None
        ids = request_ids if isinstance(request_ids, pa.Array) else pa.array(request_ids, pa.string())
        rows_each = np.asarray(rows_each, np.int64)
        labels, known = (np.repeat(one, rows_each) for one in self.find(ids, np.full(len(ids), WHOLE, np.int64)))
        starts = np.cumsum(rows_each) - rows_each
        rows = np.arange(len(labels), dtype=np.int64) - np.repeat(starts, rows_each)
        if first_rows is not None:
            rows += np.repeat(np.asarray(first_rows, np.int64), rows_each)
        if not any(block.has_rows for block in self._blocks):
            return _masked(labels, known)
        own, has_own = self.find(ids.take(pa.array(np.repeat(np.arange(len(ids)), rows_each))), rows)
        labels[has_own] = own[has_own]
        return _masked(labels, known | has_own)


def _masked(labels: Array, known: Array) -> np.ma.MaskedArray[Any, Any]:
    found: np.ma.MaskedArray[Any, Any] = np.ma.MaskedArray(labels, mask=~known)  # type: ignore[no-untyped-call]  # numpy's own stubs lack it
    return found


class _Block:
    """Entries sorted by their keys, one for each request and row. When they became known is not kept."""

    def __init__(self, entries: Entries, keys: Array | None = None) -> None:
        keys = keys_of(entries.ids, entries.rows) if keys is None else keys
        # Of equal keys the last recorded, then the last given, comes last. Stable sorting is quick where runs are in
        # order already, as those of two blocks are.
        if (entries.received[1:] >= entries.received[:-1]).all():
            order = np.argsort(keys, kind="stable")
        else:
            order = np.lexsort((entries.received, keys))
        keys = keys[order]
        same = np.flatnonzero(keys[1:] == keys[:-1])
        if len(same):
            is_last = np.ones(len(keys), bool)
            is_last[same] = ~_are_same(entries, order[same], order[same + 1])
            if len(colliding := same[is_last[same]]):
                is_last &= ~_superseded(entries.take(order), keys, np.unique(keys[colliding]))
            keys, order = keys[is_last], order[is_last]
        self.keys = keys
        self.entries = msgspec.structs.replace(entries, times=entries.rows).take(order)
        self.entries.times = np.broadcast_to(np.int64(NO_TIME), len(order))
        self.newest = int(entries.received.max(initial=0))
        self.has_rows = bool((self.entries.rows != WHOLE).any())

    def merged(self, later: _Block) -> _Block:
        """All of this and of ``later``, whose entries come after."""
        return _Block(join([self.entries, later.entries]), np.concatenate([self.keys, later.keys]))

    def find(self, keys: Array, ids: pa.Array, rows: Array) -> Array:
        """Where each is, -1 for nowhere."""
        at = np.empty(len(keys), np.int64)
        order = np.argsort(keys)  # neighbours share the way down, which lies in the processor's cache then
        at[order] = np.searchsorted(self.keys, keys[order])
        found = np.full(len(keys), -1, np.int64)
        left = np.flatnonzero(at < len(self.keys))
        while len(left := left[self.keys[at[left]] == keys[left]]):
            is_it = self.entries.rows[at[left]] == rows[left]
            mine, theirs = self.entries.ids.take(pa.array(at[left])), ids.take(pa.array(left))
            is_it &= pc.equal(mine, theirs).to_numpy(zero_copy_only=False)
            found[left[is_it]] = at[left[is_it]]
            left = left[~is_it]  # another request with the same key, once in 2^56
            at[left] += 1
            left = left[at[left] < len(self.keys)]
        return found


def keys_of(ids: pa.Array, rows: Array) -> Array:
    """A 64-bit key for each request and row."""
    keys: Array = hashes_of(ids, _SEED) + mixed(rows.astype(np.uint64))
    return keys


def _are_same(entries: Entries, one: Array, other: Array) -> Array:
    """Whether entries at ``one`` are of the same requests and rows as those at ``other``."""
    ids = pc.equal(entries.ids.take(pa.array(one)), entries.ids.take(pa.array(other)))
    same: Array = ids.to_numpy(zero_copy_only=False) & (entries.rows[one] == entries.rows[other])
    return same


def _superseded(entries: Entries, keys: Array, colliding: Array) -> Array:
    """Among entries of different requests that share a key, those that a later one of the same request corrects."""
    is_old = np.zeros(len(keys), bool)
    for key in colliding.tolist():
        later: set[tuple[str, int]] = set()
        first, end = np.searchsorted(keys, np.uint64(key), "left"), np.searchsorted(keys, np.uint64(key), "right")
        for at in range(int(end) - 1, int(first) - 1, -1):
            one = entries.ids[at].as_py(), int(entries.rows[at])
            is_old[at] = one in later
            later.add(one)
    return is_old
