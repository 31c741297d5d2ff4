"""One worker process: started, listened to, ended."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from mlserve.core.telling import error_in
from mlserve.errors import Unavailable

Event = dict[str, Any]

Forward = Callable[["Worker", Event], None]
"""Takes what a worker tells after it is ready."""

_LINE_BYTES = 1 << 20


class Worker:
    """A process that tells events, a JSON line each, of which "ready" or "error" is the first that counts."""

    def __init__(self, number: int, process: asyncio.subprocess.Process, on_event: Forward) -> None:
        self.number = number
        self.process = process
        self.started_s = asyncio.get_running_loop().time()
        self.is_leaving = False
        self.ready: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self.ended = asyncio.ensure_future(self._listen(on_event))

    @classmethod
    async def start(
        cls, number: int, command: Sequence[str], task: bytes, on_event: Forward, *, descriptors: Sequence[int] = ()
    ) -> Worker:
        """Run ``command`` and write ``task`` to its stdin, which stays open for as long as we live.

        ``descriptors`` are files of ours that it has too, under the same numbers.
        """
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES,
            pass_fds=tuple(descriptors),
            # A Ctrl-C at the terminal is the supervisor's to pass on.
            start_new_session=True,
        )
        assert process.stdin is not None
        process.stdin.write(task + b"\n")
        return cls(number, process, on_event)

    @property
    def lived_s(self) -> float:
        """For how long it has been there."""
        return asyncio.get_running_loop().time() - self.started_s

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Tell it to drain, or (SIGKILL) end it."""
        self.is_leaving = True
        with suppress(ProcessLookupError):
            self.process.send_signal(how)

    async def _listen(self, on_event: Forward) -> int:
        """Until it ends; its exit code."""
        assert self.process.stdout is not None
        error: Exception | None = None
        while line := await self.process.stdout.readline():
            event = _parsed(line)
            kind = event.get("event")
            if kind == "ready" and not self.ready.done():
                self.ready.set_result(event)
            elif kind == "error":
                error = error_in(event)
            elif kind is not None:
                on_event(self, event)
        code = await self.process.wait()
        if not self.ready.done():
            unready = Unavailable(f"worker {self.number} ended with {code} before it was ready")
            self.ready.set_exception(error or unready)
            self.ready.exception()  # whoever waits still gets it; nobody need
        return code


def _parsed(line: bytes) -> Event:
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
