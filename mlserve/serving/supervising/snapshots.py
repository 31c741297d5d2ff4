"""Every worker's counters in one place: each tells its own over a socket, and what was ever told of it is kept.

worker ─socket─► its families          asked by whichever worker answers /metrics, and now and then by the supervisor
   │               └─file─► PID.seen    kept before it is told to anybody, so that a worker's end takes nothing back
   └─ends in good order─► PID.seen      the last that it counted
   supervisor: PID.seen of those that ended ─► departed
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from mlserve.serving.metrics.families import Family, merged, packed, unpacked

log = logging.getLogger(__name__)

SUFFIX = ".sock"
SEEN = ".seen"
DEPARTED = "departed"
_TIMEOUT_S = 1.0
_KEPT_KINDS = ("counter", "histogram", "untyped")


class SnapshotServer:
    """Tells this process's families to whoever connects to its socket."""

    def __init__(self, folder: Path, name: str, families: Callable[[], list[Family]]) -> None:
        self.path = folder / f"{name}{SUFFIX}"
        self.families = families
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._tell, self.path)

    def close(self) -> None:
        """Tell nothing any more, and leave behind what was counted to the end."""
        if self._server is not None:
            self._server.close()
            self.path.unlink(missing_ok=True)
            keep_seen(self.path.parent, self.path.stem, self.families())

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(packed(self.families()))
            await writer.drain()
        finally:
            writer.close()


async def snapshot_of(path: Path) -> list[Family] | None:
    """What the process behind the socket ``path`` has counted, None where it does not answer."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                return unpacked(await reader.read())
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return None


async def gathered(folder: Path, own: SnapshotServer) -> list[Family]:
    """The families of all workers of ``folder`` as one: of ``own`` process, of the others, and of those that ended."""
    others = [path for path in sorted(folder.glob(f"*{SUFFIX}")) if path != own.path]
    answers = await asyncio.gather(*map(snapshot_of, others))
    told = {own.path.stem: own.families()}
    told |= {path.stem: families for path, families in zip(others, answers, strict=True) if families is not None}
    for name, families in told.items():
        keep_seen(folder, name, families)
    # Before the departed, in which those that end meanwhile are counted, and named.
    ended = {path.stem: _read(path) for path in folder.glob(f"*{SEEN}") if path.stem not in told}
    departed = read_departed(folder)
    silent = [_counted(families) for name, families in ended.items() if name not in departed.names]
    return merged([*told.values(), *silent, departed.families])


def keep_seen(folder: Path, name: str, families: Sequence[Family]) -> None:
    """Keep what the worker ``name`` has told of itself, in place of what it told before."""
    _put(folder / f"{name}{SEEN}", packed(families))


class Departed(msgspec.Struct):
    """What the workers ``names``, which have ended, had counted in all."""

    names: list[str] = []
    families: list[Family] = []


def read_departed(folder: Path) -> Departed:
    """What workers that have ended had counted."""
    try:
        return msgspec.msgpack.decode((folder / DEPARTED).read_bytes(), type=Departed)
    except FileNotFoundError:
        return Departed()
    except (OSError, ValueError):
        log.warning("the counters of workers that ended cannot be read")
        return Departed()


def keep_departed(folder: Path, name: str) -> None:
    """Add what the worker ``name``, which has ended, was last seen to have counted."""
    seen = folder / f"{name}{SEEN}"
    (folder / f"{name}{SUFFIX}").unlink(missing_ok=True)
    known = read_departed(folder)
    if seen.exists() and name not in known.names:
        whole = Departed([*known.names, name], merged([known.families, _counted(_read(seen))]))
        _put(folder / DEPARTED, msgspec.msgpack.encode(whole))
    seen.unlink(missing_ok=True)


def _put(path: Path, content: bytes) -> None:
    """Replace the file as a whole. It need not outlast the machine, and a disk that is full is no reason to fail."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        log.warning("counters cannot be kept for when a worker ends: %s", error.strerror)


def _counted(families: Sequence[Family]) -> list[Family]:
    """What stays of a worker that has ended: what it had at the time, such as queues and memory, went with it."""
    return [family for family in families if family.kind in _KEPT_KINDS]


def _read(path: Path) -> list[Family]:
    try:
        return unpacked(path.read_bytes())
    except (OSError, ValueError):
        return []
