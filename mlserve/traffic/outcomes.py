"""Outcomes are recorded: labels of requests, each against what the capture and the log know, appended to the log.

entries ──known?──► unmatched, kept all the same          under a lock of the folder, so that commands, workers and
        ──same?───► duplicate, not written again           servers at once neither lose nor miscount any
        ──other?──► corrected, the new one holds          else joined
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlserve import __version__
from mlserve.core.files import make_private, os_errors, replacing
from mlserve.errors import InvalidInput
from mlserve.rows.frames import HEAD_BYTES, Frames, append_frame, is_cut_short
from mlserve.rows.outcome_log import (
    BATCH,
    HEADER,
    NO_TIME,
    WHOLE,
    Array,
    Entries,
    Header,
    log_in,
    packed,
    read_header,
    unpacked,
)
from mlserve.rows.outcomes import Outcomes, keys_of
from mlserve.traffic.known_requests import KNOWN, KnownRequests

logger = logging.getLogger(__name__)

LOCK = "lock"


@dataclass(slots=True)
class Counted:
    """What became of ``outcomes``: each is ``joined`` (new, and its request is captured), ``corrected`` (had another
    label, which the new one replaces), ``duplicate`` (had this label) or ``unmatched`` (no such request or row so far;
    it is kept, and joins when the request comes).

    Beside that, ``spread`` are those with one label for a request of several rows, which holds for all of them, and
    ``late`` those whose truth became known later than the horizon after their request.
    """

    outcomes: int = 0
    joined: int = 0
    unmatched: int = 0
    duplicate: int = 0
    corrected: int = 0
    spread: int = 0
    late: int = 0


class OutcomeWriter:
    """Records outcomes of ``model``, whose capture is, or will be, in ``folder``. ``clock`` is nanoseconds since 1970.

    Keeps what it has read, so that one that stays open answers soon. Raises InvalidConfig for a folder that cannot be
    written, InvalidInput for a log that cannot be read.
    """

    def __init__(self, folder: Path, model: str, clock: Callable[[], int]) -> None:
        self._log = log_in(folder)
        self._model = model
        self._clock = clock
        self._known = KnownRequests(folder)
        self._outcomes = Outcomes([self._log])

    def record(self, batches: Iterator[Entries], *, horizon_s: float | None = None) -> Counted:
        """Append what is new in ``batches``, in their order, and count all. Afterwards it is on disk.

        Raises InvalidInput for text where labels were numbers (or the reverse), before anything of that batch is
        written, and where the disk does not take it: what was written by then is a duplicate the next time.
        """
        counted = Counted()
        make_private(self._log.parent, "the outcomes' folder")
        self._known.refresh()
        for batch in batches:
            # The lock is for each batch: who posts one outcome does not wait for who brings a large file.
            with os_errors(self._log), locked(self._log.parent), _Appending(self._log) as log:
                self._record(batch, log, counted, horizon_s)
        return counted

    def _record(self, batch: Entries, log: _Appending, counted: Counted, horizon_s: float | None) -> None:
        read_header(self._log)
        self._outcomes.refresh()
        self._check_kind(batch)
        log.begin(*self._outcomes.place(self._log))
        if not log.frames:
            log.append(HEADER, msgspec.json.encode(Header(model=self._model, tool=f"mlserve {__version__}")))
        now = max(self._clock(), self._outcomes.newest + 1)  # a clock that was set back must not undo corrections
        batch.received = np.full(len(batch), now)
        fresh = self._judge(batch, counted, horizon_s)
        if len(fresh):
            log.append(BATCH, packed(fresh))
            self._outcomes.add(fresh)
            self._outcomes.skip_to(self._log, log.inode, log.end, log.frames)

    def _check_kind(self, batch: Entries) -> None:
        before = self._outcomes.dtype
        if before is not None and (before.kind == "O") != (batch.labels.dtype.kind == "O"):
            was, are = ("text", "numbers") if before.kind == "O" else ("numbers", "text")
            raise InvalidInput(f"the labels of '{self._model}' have been {was} so far, and these are {are}")

    def _judge(self, batch: Entries, counted: Counted, horizon_s: float | None) -> Entries:
        """Count each of ``batch``; those that are to be written."""
        ends, arrived = self._known.find(batch.ids)
        is_known = (ends > 0) & (batch.rows < ends)
        before, has_before = self._before(batch)
        is_same = has_before & np.asarray(before == batch.labels, bool)
        counted.outcomes += len(batch)
        counted.unmatched += int((~is_known).sum())
        counted.joined += int((is_known & ~has_before).sum())
        counted.duplicate += int((is_known & is_same).sum())
        counted.corrected += int((is_known & has_before & ~is_same).sum())
        counted.spread += int((is_known & (batch.rows == WHOLE) & (ends > 1)).sum())
        if horizon_s is not None:
            has_time = is_known & (batch.times != NO_TIME)
            counted.late += int((batch.times[has_time] - arrived[has_time] > round(1e9 * horizon_s)).sum())
        return batch if not is_same.any() else batch.take(np.flatnonzero(~is_same))

    def _before(self, batch: Entries) -> tuple[Array, Array]:
        """The label that each had before, from the log or from earlier in the batch, and whether it had one."""
        before, has_before = self._outcomes.find(batch.ids, batch.rows)
        keys = keys_of(batch.ids, batch.rows)
        order = np.argsort(keys, kind="stable")
        again = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
        if len(again):
            before = before.astype(np.result_type(before.dtype, batch.labels.dtype))
            before[order[again + 1]] = batch.labels[order[again]]
            has_before[order[again + 1]] = True
        return before, has_before


def forget(folder: Path, ids: pa.Array) -> int:
    """Take every outcome of the requests ``ids`` out of the log in ``folder``, for good; how many there were.

    What was set aside as damaged goes whole if it has any of them.

    Raises InvalidInput where the log cannot be read, or the disk does not take the new one.
    """
    log = log_in(folder)
    if not log.is_file():
        return 0
    gone = 0
    with os_errors(log), locked(log.parent), replacing(log) as partial:
        header = read_header(log) or Header(model=folder.name)
        partial.touch(mode=0o600)
        with log.open("rb") as source, _Appending(partial) as fresh:
            fresh.append(HEADER, msgspec.json.encode(header))
            for frame in Frames(source):
                for entries in unpacked(frame.payload) if frame.kind == BATCH else ():
                    is_theirs = pc.is_in(entries.ids, value_set=ids).to_numpy(zero_copy_only=False)
                    gone += int(is_theirs.sum())
                    if not is_theirs.all():
                        fresh.append(BATCH, packed(entries.take(np.flatnonzero(~is_theirs))))
    for kept in (log.parent / KNOWN).glob("*"):
        kept.unlink(missing_ok=True)  # hashes of their ids
    for damaged in log.parent.glob("damaged-*"):
        content = damaged.read_bytes()
        if any(name.encode() in content for name in ids.to_pylist()):
            damaged.unlink()
    return gone


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else writes outcomes in ``folder`` meanwhile. Raises OSError."""
    fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


class _Appending:
    """The end of a log: cut back to what is whole, appended to, and on disk when the block ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.end = self.frames = self.inode = 0

    def __enter__(self) -> _Appending:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.inode = os.fstat(self._fd).st_ino
        return self

    def __exit__(self, *_: object) -> None:
        try:
            os.fsync(self._fd)
        finally:
            os.close(self._fd)

    def begin(self, end: int, frames: int) -> None:
        """Go on behind the ``frames`` that are whole; what is damaged, and not just cut short, goes to another file."""
        self.end, self.frames = end, frames
        rest = os.pread(self._fd, HEAD_BYTES, end)
        if rest and not is_cut_short(rest, os.fstat(self._fd).st_size - end):
            damaged = self._path.with_name(f"damaged-{secrets.token_hex(4)}")
            logger.warning("'%s' is damaged from byte %d on; the rest is now '%s'", self._path, end, damaged)
            with self._path.open("rb") as file, replacing(damaged) as partial, partial.open("wb") as copy:
                file.seek(end)
                shutil.copyfileobj(file, copy)
        os.ftruncate(self._fd, end)
        os.lseek(self._fd, end, os.SEEK_SET)

    def append(self, kind: int, payload: bytes | memoryview) -> None:
        self.end += append_frame(self._fd, self.end, kind, self.frames, memoryview(payload))
        self.frames += 1
