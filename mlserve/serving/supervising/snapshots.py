"""Every worker's counters in one place: each tells its own over a socket, and those that ended are kept in a file.

worker ─socket─► its families          asked by whichever worker answers /metrics, and now and then by the supervisor
ended  ─file───► what they had counted when they were last asked, so that counters never go back
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mlserve.core.files import replacing
from mlserve.serving.metrics.families import Family, merged, packed, unpacked

log = logging.getLogger(__name__)

SUFFIX = ".sock"
DEPARTED = "departed"
_TIMEOUT_S = 1.0
_KEPT_KINDS = ("counter", "histogram", "untyped")


class SnapshotServer:
    """Tells this process's families to whoever connects to its socket."""

    def __init__(self, folder: Path, name: str, families: Callable[[], list[Family]]) -> None:
        self.path = folder / f"{name}{SUFFIX}"
        self._families = families
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._tell, self.path)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.path.unlink(missing_ok=True)

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(packed(self._families()))
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
    found = [families for families in answers if families is not None]
    return merged([own._families(), *found, read_departed(folder)])


def read_departed(folder: Path) -> list[Family]:
    """What workers that have ended had counted."""
    try:
        return unpacked((folder / DEPARTED).read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, ValueError):
        log.warning("the counters of workers that ended cannot be read")
        return []


def keep_departed(folder: Path, families: Iterable[Family]) -> None:
    """Add what an ended worker had counted; what it had at the time, such as queues and memory, went with it."""
    counted: Sequence[Family] = [family for family in families if family.kind in _KEPT_KINDS]
    with replacing(folder / DEPARTED) as partial:
        partial.write_bytes(packed(merged([read_departed(folder), counted])))
