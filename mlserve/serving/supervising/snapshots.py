"""Every worker's counters in one place: each tells its own over a socket, and what was ever told of it is kept.

worker ─socket─► what it tells         asked by whichever worker answers for all, and now and then by the supervisor
   │               └─file─► PID.seen    kept before it is told to anybody, so that a worker's end takes nothing back
   └─ends in good order─► PID.seen      the last that it counted
   supervisor: PID.seen of those that ended ─► departed
               its own counters ─► supervisor
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from mlserve.errors import DeadlineExceeded
from mlserve.serving.metrics.families import Family
from mlserve.serving.supervising.asking import SUFFIX, AskedServer, told_by
from mlserve.serving.supervising.telling import Told, counted, summed

log = logging.getLogger(__name__)

SEEN = ".seen"
DEPARTED = "departed"
SUPERVISOR = "supervisor"

_TOLD = msgspec.msgpack.Decoder(Told)


@dataclass(frozen=True, slots=True)
class Gathered:
    """``workers`` are those that are there, by process id, None where one does not answer; ``whole`` is their sum, with
    what was counted by those that ended and by the supervisor."""

    workers: dict[str, Told | None]
    whole: Told


async def gathered(folder: Path, own: AskedServer) -> Gathered:
    """What all workers of ``folder`` have counted and loaded."""
    others = [path for path in sorted(folder.glob(f"*{SUFFIX}")) if path != own.path]
    answers = await asyncio.gather(*map(told_by, others), return_exceptions=True)
    told = {own.path.stem: own.tell()}
    silent: dict[str, Told | None] = {}
    for path, answer in zip(others, answers, strict=True):
        if isinstance(answer, Told):
            told[path.stem] = answer
        elif isinstance(answer, DeadlineExceeded):
            silent[path.stem] = None
        elif isinstance(answer, BaseException):
            raise answer
    for name, one in told.items():
        keep_seen(folder, name, one)
    # Before the departed, in which those that end meanwhile are counted, and named.
    ended = {path.stem: _read(path) for path in folder.glob(f"*{SEEN}") if path.stem not in told}
    departed = read_departed(folder)
    gone = [counted(one) for name, one in ended.items() if name not in departed.names]
    return Gathered({**told, **silent}, summed([*told.values(), *gone, departed.told, _read(folder / SUPERVISOR)]))


def keep_seen(folder: Path, name: str, told: Told) -> None:
    """Keep what the worker ``name`` has told of itself, in place of what it told before."""
    _put(folder / f"{name}{SEEN}", msgspec.msgpack.encode(told))


def keep_supervisors(folder: Path, families: Sequence[Family]) -> None:
    """Keep what the supervisor has counted, for the workers to tell."""
    _put(folder / SUPERVISOR, msgspec.msgpack.encode(Told(list(families))))


class Departed(msgspec.Struct):
    """What the workers ``names``, which have ended, had counted in all."""

    names: list[str] = []
    told: Told = msgspec.field(default_factory=Told)


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
        whole = Departed([*known.names, name], summed([known.told, counted(_read(seen))]))
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


def _read(path: Path) -> Told:
    try:
        return _TOLD.decode(path.read_bytes())
    except (OSError, ValueError):
        return Told()
