"""The access log: a JSON line a request, written by a thread that no request ever waits for.

note ─► list ──a tenth of a second──► thread: text, file      full: dropped and counted
"""

from __future__ import annotations

import logging
import os
import sys
from asyncio import AbstractEventLoop, TimerHandle
from concurrent.futures import Future
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

import msgspec

from mlserve.errors import InvalidConfig
from mlserve.serving.observing import Sampler, Seen
from mlserve.serving.threads import OneThread

log = logging.getLogger(__name__)

MAX_UNWRITTEN = 1 << 16
FLUSH_S = 0.1
SERVER_ERROR = 500


class AccessLog:
    """An ``Observer`` that writes lines to ``file``, or to stderr where it is None.

    ``share`` is how much of the requests is written, as ``Sampler`` chooses, and what the server failed at always is. A
    file that was moved away is made anew under its name. Raises InvalidConfig for a file that cannot be written.
    """

    def __init__(self, loop: AbstractEventLoop, file: Path | None, share: float = 1.0) -> None:
        self._loop = loop
        self._path = file
        self._file = None if file is None else _opened(file)
        self._sampler = Sampler(share)
        self._thread = OneThread("access-log")
        self._ring: list[Seen] = []
        self._unwritten = 0
        self._timer: TimerHandle | None = None
        self._is_broken = False
        self.dropped = 0

    def wants(self, request_id: bytes | None, traceparent: str | None) -> bool:
        return self._sampler.takes(request_id)

    def wants_failure(self, status: int) -> bool:
        return status >= SERVER_ERROR

    def note(self, seen: Seen) -> None:
        if len(self._ring) + self._unwritten >= MAX_UNWRITTEN:
            self.dropped += 1
            return
        self._ring.append(seen)
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self._hand_over)

    def close(self, timeout_s: float) -> None:
        """Write what is left, as long as ``timeout_s``."""
        if self._timer is not None:
            self._timer.cancel()
        self._hand_over()
        done: Future[None] = self._thread.submit(lambda: None)
        self._thread.shutdown()
        try:
            done.result(timeout_s)
        except TimeoutError:
            log.warning("the access log cannot be written: %d lines are lost", self._unwritten)
            return
        if self._file is not None:
            self._file.close()

    def _hand_over(self) -> None:
        self._timer = None
        seen, self._ring = self._ring, []
        self._unwritten += len(seen)
        if seen:
            self._thread.submit(self._write, seen)

    def _write(self, seen: list[Seen]) -> None:
        try:
            self._put("".join(f"{line_of(one)}\n" for one in seen))
            self._is_broken = False
        except (OSError, InvalidConfig) as error:
            self.dropped += len(seen)
            if not self._is_broken:
                self._is_broken = True
                log.warning("the access log cannot be written: %s", error)
        finally:
            self._unwritten -= len(seen)

    def _put(self, text: str) -> None:
        if self._path is None or self._file is None:
            print(text, end="", file=sys.stderr, flush=True)
            return
        if _was_moved(self._path, self._file):
            self._file.close()
            self._file = _opened(self._path)
        data = memoryview(text.encode())
        while data:
            data = data[self._file.write(data) :]


def line_of(seen: Seen) -> str:
    """One request as JSON; times in milliseconds, those of its run only where there was one."""
    line: dict[str, object] = {
        "at": datetime.fromtimestamp(seen.ended_at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "id": seen.id,
        "client": seen.client,
        "protocol": seen.protocol,
        "action": seen.action,
        "model": seen.model,
        "version": seen.version,
        "status": seen.status,
        "reply_bytes": seen.reply_bytes,
    }
    timing, began_s = seen.timing, seen.began_s
    if began_s is not None:
        line["duration_ms"] = _ms(seen.ended_s - began_s)
    if timing is not None and began_s is not None:
        line |= {
            "queue_ms": _ms(max(0.0, timing.taken_s - began_s)),
            "run_ms": _ms(timing.ran_s - timing.gathered_s),
            "batch_rows": timing.rows,
            "batch_requests": timing.requests,
        }
    return msgspec.json.encode(line).decode()


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 3)


def _opened(path: Path) -> FileIO:
    """Without a buffer, which would hold on to what a full disk did not take."""
    try:
        return FileIO(path, "a")
    except OSError as error:
        raise InvalidConfig(f"the access log '{path}' cannot be written: {error.strerror}") from error


def _was_moved(path: Path, file: FileIO) -> bool:
    try:
        return not os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return True
