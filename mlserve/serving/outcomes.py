"""Outcomes that clients send: read, joined and written in a thread of their own, beside this server's capture.

Workers, other servers and ``mlserve outcome`` may write to the same log: it is locked while one does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mlserve.errors import InvalidInput, Unavailable
from mlserve.serving.oip.nesting import check_depth
from mlserve.serving.threads import OneThread

if TYPE_CHECKING:
    from mlserve.traffic.outcomes import OutcomeWriter

log = logging.getLogger(__name__)

_FIELDS = frozenset({"request_id", "id", "label", "row", "time"})
_EXAMPLE = '{"outcomes": [{"id": "7f3a9c-1", "label": 1}]}'


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    """``horizon_s``: those whose time is later than this after their request count as late."""

    outcomes: list[dict[str, Any]]
    horizon_s: float | None = None


class OutcomeDesk:
    """Takes outcomes for the requests that are captured in ``capture``; its thread is there from the first on."""

    def __init__(self, capture: Path, loop: asyncio.AbstractEventLoop, *, max_depth: int) -> None:
        self._capture = capture
        self._loop = loop
        self._max_depth = max_depth
        self._thread: OneThread | None = None
        self._writers: dict[str, OutcomeWriter] = {}

    async def record(self, model: str, read: Callable[[], bytes]) -> bytes:
        """Record what stands in the body that ``read`` gives, called in the thread; the answer, as JSON.

        ``model`` must be known to be one. Raises InvalidInput, Unavailable where the disk does not take it.
        """
        if self._thread is None:
            self._thread = OneThread("outcomes")
        return await self._loop.run_in_executor(self._thread, self._record, model, read)

    def close(self) -> None:
        """End the thread after what it was given."""
        if self._thread is not None:
            self._thread.shutdown()

    def _record(self, model: str, read: Callable[[], bytes]) -> bytes:
        from mlserve.rows.outcome_rows import from_objects
        from mlserve.traffic.outcomes import OutcomeWriter

        body = _read(read(), self._max_depth)
        parts = list(from_objects(_placed(body.outcomes)))
        writer = self._writers.get(model)
        if writer is None:
            writer = self._writers[model] = OutcomeWriter(self._capture / model, model, time.time_ns)
        try:
            return msgspec.json.encode(asdict(writer.record(iter(parts), horizon_s=body.horizon_s)))
        except InvalidInput as error:
            if str(self._capture) not in error.message:
                raise
            log.warning("outcomes of '%s': %s", model, error.message)  # where they lie is for the log alone
            raise Unavailable(f"the outcomes of '{model}' cannot be written now") from error


def _read(body: bytes, max_depth: int) -> _Body:
    check_depth(body, max_depth)
    try:
        return msgspec.json.decode(body, type=_Body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"the body is not JSON such as {_EXAMPLE}: {error}") from error


def _placed(outcomes: list[dict[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each with where it stands, for messages, from 1."""
    for number, one in enumerate(outcomes, start=1):
        if strange := one.keys() - _FIELDS:
            raise InvalidInput(f"outcome {number} has '{min(strange)}', which is none of {', '.join(sorted(_FIELDS))}")
        yield f"outcome {number}", one
