"""How workers are asked, by each other and by their supervisor: one question and one reply over a socket each.

worker ─► FOLDER/PID.sock ─► worker: "tell" what you have counted and loaded; "load", "unload" a model;
supervisor ──────┘                   "adopt", "release" the clients that wait at another's seat
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from mlserve.core.telling import error_event, error_in
from mlserve.errors import DeadlineExceeded, MlserveError, Unavailable
from mlserve.serving.supervising.telling import Told

log = logging.getLogger(__name__)

SUFFIX = ".sock"
TELL_S = 1.0
"""How long a worker may take to tell of itself, or to adopt a seat."""


class Ask(msgspec.Struct):
    """A question: ``model`` and ``versions`` of "load" and "unload", ``seat`` of "adopt" and "release"."""

    what: Literal["tell", "load", "unload", "adopt", "release"] = "tell"
    model: str = ""
    versions: list[int] | None = None
    seat: int = 0


class _Reply(msgspec.Struct):
    told: Told | None = None
    error: dict[str, Any] | None = None


_ASKS = msgspec.msgpack.Decoder(Ask)
_REPLIES = msgspec.msgpack.Decoder(_Reply)

Act = Callable[[Ask], Awaitable[None]]
"""Does what is asked, other than "tell"; raises what kept it from being done."""


async def nothing(ask: Ask) -> None:
    """The ``Act`` of one who only tells."""
    raise Unavailable(f"nobody here can {ask.what}")


class AskedServer:
    """Answers whoever connects to ``FOLDER/NAME.sock``."""

    def __init__(self, folder: Path, name: str, tell: Callable[[], Told], act: Act = nothing) -> None:
        self.path = folder / f"{name}{SUFFIX}"
        self.tell = tell
        self._act = act
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._answer, self.path)

    def close(self) -> None:
        """Answer nobody any more."""
        if self._server is not None:
            self._server.close()
            self.path.unlink(missing_ok=True)

    @property
    def is_open(self) -> bool:
        return self._server is not None

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(msgspec.msgpack.encode(await self._reply(await reader.read())))
            await writer.drain()
        except (OSError, ValueError):
            log.warning("a question of another worker could not be answered", exc_info=True)
        finally:
            writer.close()

    async def _reply(self, question: bytes) -> _Reply:
        ask = _ASKS.decode(question)
        if ask.what == "tell":
            return _Reply(self.tell())
        try:
            await self._act(ask)
        except MlserveError as error:
            return _Reply(error=error_event(error))
        except Exception:
            log.exception("asked to %s", ask.what)
            return _Reply(error=error_event(Unavailable(f"a worker could not {ask.what}; see the log")))
        return _Reply()


async def told_by(path: Path) -> Told | None:
    """What the worker behind ``path`` tells of itself, None where nobody is there. Raises DeadlineExceeded."""
    reply = await _asked(path, Ask(), TELL_S)
    return None if reply is None else reply.told


async def do(path: Path, ask: Ask, timeout_s: float = TELL_S) -> bool:
    """Have the worker behind ``path`` do ``ask``; whether anybody was there to the end.

    Raises what kept the worker from it, and DeadlineExceeded.
    """
    reply = await _asked(path, ask, timeout_s)
    if reply is not None and reply.error is not None:
        raise error_in(reply.error)
    return reply is not None


async def _asked(path: Path, ask: Ask, timeout_s: float) -> _Reply | None:
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(msgspec.msgpack.encode(ask))
                writer.write_eof()
                return _REPLIES.decode(await reader.read())
            finally:
                with suppress(OSError):
                    writer.close()
    except TimeoutError as error:
        raise DeadlineExceeded(f"worker {path.stem} did not {ask.what} within {timeout_s:g} s") from error
    except (OSError, ValueError):
        return None  # it ended before it answered, or in the middle of it
