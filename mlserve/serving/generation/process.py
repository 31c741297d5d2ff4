"""One process of a language model: started, asked, ended."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from mlserve.core.telling import error_in
from mlserve.errors import DeadlineExceeded, Unavailable
from mlserve.runtime.generation.messages import LENGTH_BYTES, pack, unpack

COMMAND = (sys.executable, "-m", "mlserve.runtime.generation.child")
_PIECE_BYTES = 1 << 20


class ChildEnded(Unavailable):
    """The process is gone."""


class ChildHangs(DeadlineExceeded):
    """The process does not answer in time, not even that it could not."""


class ChildProcess:
    """A process that answers one question at a time. What it logs goes to our stderr.

    ``descriptors`` are files of ours that it has too, under the same numbers.
    """

    def __init__(self, command: Sequence[str] = COMMAND, *, descriptors: Sequence[int] = ()) -> None:
        # A session of its own: a Ctrl-C at the terminal is the server's to act on.
        self._asking = threading.Lock()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            pass_fds=tuple(descriptors),
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, question: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """The answer. Raises the error that it tells, ChildEnded, and ChildHangs after ``timeout_s``."""
        until_s = time.monotonic() + timeout_s
        with self._asking:
            answer = self._answer(pack(question), until_s)
        if answer["event"] == "error":
            raise error_in(answer)
        return answer

    def wait(self) -> int:
        """Its exit code, when it has ended; negative for a signal."""
        return self._process.wait()

    def kill(self) -> None:
        """Have it ended soon; whoever has asked is told so, and ``end`` is still to be called."""
        self._process.kill()

    def end(self) -> None:
        """Kill it: nobody waits for what it does. Whoever has asked is told that it ended."""
        self._process.kill()
        self._process.wait()
        # Not before: a number of a file that is closed while somebody reads may be another's by then.
        with self._asking:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()

    def _answer(self, frame: bytes, until_s: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            while frame:
                frame = frame[self._process.stdin.write(frame) :]
        except (OSError, ValueError) as error:  # ValueError: the pipe was closed here
            raise self._ended() from error
        return unpack(self._read(int.from_bytes(self._read(LENGTH_BYTES, until_s), "little"), until_s))

    def _read(self, count: int, until_s: float) -> bytes:
        assert self._process.stdout is not None
        source = self._process.stdout.fileno()
        poller = select.poll()
        poller.register(source, select.POLLIN)
        parts = bytearray()
        while len(parts) < count:
            left_s = until_s - time.monotonic()
            if left_s <= 0 or not poller.poll(1e3 * left_s):
                raise ChildHangs("the model's process does not answer")
            piece = os.read(source, min(_PIECE_BYTES, count - len(parts)))
            if not piece:
                raise self._ended()
            parts += piece
        return bytes(parts)

    def _ended(self) -> ChildEnded:
        return ChildEnded("the model's process ended before it had answered")
