"""What was recorded goes to disk: sampled, redacted, as columns, into the segment of its version.

Nothing here is fast enough for an event loop, and nothing needs to be: ``write`` is called from one thread of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Literal
from zlib import crc32

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from mlserve import __version__
from mlserve.core.files import make_private
from mlserve.errors import InvalidConfig
from mlserve.rows.capture_format import Header, schema_of
from mlserve.traffic.recorded import Recorded, Source
from mlserve.traffic.records import columns_of
from mlserve.traffic.redaction import Redaction
from mlserve.traffic.segments import Segment, oldest_sealed

log = logging.getLogger(__name__)

Sync = Literal["none", "interval", "batch"]

SYNC_S = 1.0
RETRY_S = 5.0
"""How long nothing is tried on a disk that did not take something."""


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """Where a capture goes and how. ``share`` of the requests is taken, by the CRC-32 of their ids.

    A segment is sealed at ``segment_bytes`` or after ``segment_s``. With ``max_bytes``, the oldest sealed segments go
    when all of ``folder`` has more. ``sync`` is when the disk is told to keep: never, each second, or each write.
    """

    folder: Path
    share: float = 1.0
    segment_bytes: int = 64 << 20
    segment_s: float = 600.0
    max_bytes: int | None = None
    sync: Sync = "interval"
    redaction: Redaction = field(default_factory=Redaction)


def get_ready() -> None:
    """Load what the first write would load; pyarrow looks for pandas when it first turns a list into an array."""
    pa.array([""], pa.string())


class CaptureWriter:
    """Writes the segments of one process, which calls itself ``server``. Raises InvalidConfig for a folder that cannot
    be written. ``written`` and ``dropped`` count requests; ``removed_bytes`` is what the budget cost.
    """

    def __init__(self, plan: CapturePlan, server: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)):
        make_private(plan.folder, "the capture's folder")
        self._plan = plan
        self._server = server
        self._clock = clock
        self._segments: dict[Source, Segment] = {}
        self._numbered = 0
        self._synced_at = self._looked_at = clock()
        self._broken_until: datetime | None = None
        self._threshold = round(plan.share * (1 << 32))
        self.written = self.dropped = self.written_bytes = self.removed_bytes = 0

    @property
    def redaction(self) -> Redaction:
        return self._plan.redaction

    def write(self, recorded: Sequence[Recorded]) -> None:
        """Write all of it. What the disk does not take is dropped and counted; nothing is raised."""
        now = self._clock()
        ordered = sorted(recorded, key=lambda one: id(one.source))
        for _, group in groupby(ordered, key=lambda one: id(one.source)):
            same = list(group)
            try:
                if self._broken_until is None or now >= self._broken_until:
                    self._write(same, now)
                    continue
            except (OSError, pa.ArrowException) as error:
                self._note_failure(error, now)
            self.dropped += sum(one.requests for one in same)
        self.tend(now)

    def tend(self, now: datetime | None = None) -> None:
        """Seal what is due, sync, and keep to the budget; to be called now and then when there is nothing to write."""
        now = now or self._clock()
        plan = self._plan
        for source, segment in list(self._segments.items()):
            age_s = (now - segment.opened_at).total_seconds()
            if segment.size_bytes >= plan.segment_bytes or age_s >= plan.segment_s:
                self._seal(source)
        if plan.sync == "interval" and (now - self._synced_at).total_seconds() >= SYNC_S:
            self._synced_at = now
            self._sync()
        if plan.max_bytes is not None and (now - self._looked_at).total_seconds() >= SYNC_S:
            self._looked_at = now
            self._keep_to_budget(plan.max_bytes)

    def close(self) -> None:
        """Seal every segment."""
        for source in list(self._segments):
            self._seal(source)

    def _write(self, same: Sequence[Recorded], now: datetime) -> None:
        source, plan = same[0].source, self._plan
        if not plan.redaction.is_empty:
            same = [self._redacted(one) for one in same]
        segment = self._segment(source, now)
        batch = columns_of(same, segment.schema, 1.0 / plan.share)
        taken = batch
        if plan.share < 1.0:
            mask = [crc32(part) < self._threshold for one in same for part in one.ids]
            taken = batch.filter(pa.array(mask, pa.bool_()))
        if taken.num_rows:
            before = segment.size_bytes
            segment.append(taken, int(pc.sum(taken.column("rows")).as_py()))
            self.written += taken.num_rows
            self.written_bytes += segment.size_bytes - before
            if plan.sync == "batch":
                segment.sync()
        if self._broken_until is not None:
            log.warning("the capture can be written again; %d requests were dropped in all", self.dropped)
            self._broken_until = None

    def _redacted(self, one: Recorded) -> Recorded:
        redaction, model = self._plan.redaction, one.source.model
        return msgspec.structs.replace(
            one,
            inputs=redaction.apply(model, "input", one.inputs),
            outputs=redaction.apply(model, "output", one.outputs),
        )

    def _segment(self, source: Source, now: datetime) -> Segment:
        segment = self._segments.get(source)
        if segment is None:
            header = Header(
                model=source.model,
                version=source.version,
                digest=source.digest,
                server=self._server,
                started_at=now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
                share=self._plan.share,
                redaction=self._plan.redaction.digest,
                tool=f"mlserve {__version__}",
            )
            schema = schema_of(source.signature, header)
            self._numbered += 1
            segment = Segment(self._plan.folder / source.model, header, schema, self._numbered, now)
            self._segments[source] = segment
        return segment

    def _seal(self, source: Source) -> None:
        segment = self._segments.pop(source)
        segment.dropped = self.dropped
        try:
            segment.seal()
        except OSError as error:
            log.warning("a segment of the capture cannot be sealed, and stays open: %s", error)

    def _sync(self) -> None:
        for segment in self._segments.values():
            with suppress(OSError):
                segment.sync()

    def _note_failure(self, error: Exception, now: datetime) -> None:
        if self._broken_until is None:
            log.warning("the capture cannot be written, so requests are dropped from it: %s", error)
        self._broken_until = datetime.fromtimestamp(now.timestamp() + RETRY_S, UTC)

    def _keep_to_budget(self, max_bytes: int) -> None:
        sealed = list(oldest_sealed(self._plan.folder))
        over = sum(size for _, size in sealed) + sum(one.size_bytes for one in self._segments.values()) - max_bytes
        for path, size in sealed:
            if over <= 0:
                return
            with suppress(OSError):
                path.unlink()
                self.removed_bytes += size
                over -= size


def read_key(path: Path | None) -> bytes | None:
    """The secret in a file, for hashes. Raises InvalidConfig for one that is missing or short."""
    if path is None:
        return None
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise InvalidConfig(f"the capture's key '{path}' cannot be read: {error.strerror}") from error
    if len(key) < 16:
        raise InvalidConfig(
            f"the capture's key '{path}' has {len(key)} bytes", hint="at least 16: openssl rand -hex 32"
        )
    return key
