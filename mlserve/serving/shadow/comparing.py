"""What a shadow has learned: counts, latencies and the comparison ladder; kept in a file, merged over workers, told.

The file is written anew about once a second. A process that is killed loses what came since, and its successor goes on
from there: requests that neither has compared are counted as failed.
"""

from __future__ import annotations

import glob
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mlserve.compare.ladder.comparison import ComparisonPlan
from mlserve.compare.pairs import Array, Pairs
from mlserve.core.files import replacing
from mlserve.core.histograms import Histogram
from mlserve.errors import MlserveError
from mlserve.serving.shadow.judging import Judgement
from mlserve.serving.shadow.messages import Opening, Told
from mlserve.serving.shadow.pooling import pooled
from mlserve.serving.shadow.ring import Ring
from mlserve.serving.shadow.running import Ran

log = logging.getLogger(__name__)

POOL_ROWS, POOL_BYTES = 1024, 16 << 20
"""Rows that are compared at a time, if so many come within a second and are not larger together."""

FAILURES = 20
"""Failed requests that are named."""

LOST = "the process ended while it had it"


class Kept(msgspec.Struct):
    """The file: what is told, the comparison's state, and the first failures."""

    told: Told
    comparison: bytes
    failures: list[dict[str, str]] = []

    @property
    def judgement(self) -> Judgement:
        """The comparison, anew each time. Raises InvalidInput."""
        return Judgement.unpacked(self.comparison)


class Comparing:
    """Learns of runs, for one thread that adds and others that ask. ``ring`` counts what was mirrored.

    ``precision`` is what the shadow computes in, None where that is not known; it decides what is within tolerance.
    """

    def __init__(self, opening: Opening, ring: Ring, precision: str | None = None) -> None:
        self._opening = opening
        self._ring = ring
        self._lock = threading.Lock()
        self._path = Path(opening.state)
        self._told = Told()
        # No inputs are kept: whoever may ask a server has no business with what others asked.
        precisions = opening.champion_precision, precision or opening.champion_precision
        self._judgement = Judgement(ComparisonPlan(precisions=precisions, worst_rows=0, explain=False))
        self._failures: list[dict[str, str]] = []
        self._pool: list[Pairs] = []
        self._pool_rows = self._pool_bytes = 0
        self._left = 0
        self._is_new = True
        kept = read_kept(self._path)
        if kept is not None:
            self._told, self._failures = kept.told, kept.failures
            self._judgement = kept.judgement
        lost = ring.taken - self._told.compared - self._told.failed
        if lost > 0:
            self._told.failed += lost
            self._note("", LOST)

    @property
    def plan(self) -> ComparisonPlan:
        """How answers are compared."""
        return self._judgement.plan

    def add(self, rans: Sequence[Ran]) -> None:
        """Learn of runs of the shadow."""
        with self._lock:
            for ran in rans:
                self._add(ran)
            self._is_new = True

    def fail(self, requests: int, error: str) -> None:
        """Count requests of which nothing can be said but that they failed."""
        with self._lock:
            self._told.failed += requests
            self._note("", error)
            self._is_new = True

    def told(self) -> Told:
        """The counts as they are, the ring's among them."""
        with self._lock:
            return self._counted()

    def checkpoint(self) -> None:
        """Write the file, if there is anything new."""
        with self._lock:
            if not self._is_new:
                return
            self._is_new = False
            content = self._packed()
        try:
            with replacing(self._path) as partial:
                partial.write_bytes(content)
        except (OSError, MlserveError) as error:
            log.warning("what the shadow of %s has learned cannot be kept: %s", self._opening.baseline, error)

    def close(self) -> None:
        """Nobody will take what is left in the ring: count it as dropped, and keep the last in the file."""
        with self._lock:
            left = self._counted().in_ring
            self._left += left
            self._is_new = True
        self.checkpoint()

    def document(self) -> dict[str, Any]:
        """All that is known, of all workers, as JSON values."""
        with self._lock:
            # Merged beside what goes on being added to.
            own = msgspec.msgpack.decode(self._packed(), type=Kept)
        told, failures, judgement = own.told, own.failures, own.judgement
        for path in sorted(glob.glob(self._opening.siblings)):
            other = None if Path(path) == self._path else read_kept(Path(path))
            if other is None:
                continue
            try:
                judgement.merge(other.judgement)
            except MlserveError as error:
                log.warning("what another worker's shadow has learned is left out: %s", error.message)
                continue
            told, failures = told.merged(other.told), [*failures, *other.failures]
        return document_of(self._opening, told, judgement, failures[:FAILURES])

    def _counted(self) -> Told:
        self._judge()
        ring, told = self._ring, self._told
        written, dropped = ring.written, ring.dropped
        told.mirrored, told.dropped = written + dropped, dropped + self._left
        told.in_ring = max(0, written - told.compared - told.failed - self._left)
        return told

    def _packed(self) -> bytes:
        told = self._counted()
        return msgspec.msgpack.encode(Kept(told, self._judgement.packed(), self._failures))

    def _add(self, ran: Ran) -> None:
        told, mirrored = self._told, ran.mirrored
        if ran.outputs is None:
            told.failed += mirrored.requests
            for name in mirrored.request_ids[:FAILURES]:
                self._note(name, ran.error)
            return
        pairs = pairs_of(ran)
        self._pool.append(pairs)
        self._pool_rows += pairs.rows
        self._pool_bytes += sum([array.nbytes for array in (*pairs.inputs.values(), *pairs.expected.values())])
        if self._pool_rows >= POOL_ROWS or self._pool_bytes >= POOL_BYTES:
            self._judge()
        if mirrored.head.compute_s:
            told.champion.add(mirrored.head.compute_s)
        told.shadow.add(ran.run_s)
        told.cpu.add(ran.cpu_s)

    def _judge(self) -> None:
        """Compare what has come together. What cannot be compared is counted as failed, and ends nothing."""
        pool, self._pool = self._pool, []
        self._pool_rows = self._pool_bytes = 0
        if not pool:
            return
        told = self._told
        for pairs in pooled(pool):
            requests = len(pairs.request_ids)
            try:
                self._judgement.add(pairs)
            except Exception as error:
                log.exception("answers could not be compared")
                told.failed += requests
                self._note(pairs.request_ids[0], f"not comparable: {error}")
            else:
                told.compared += requests
        told.rows, told.identical, told.within_tolerance = self._judgement.counts

    def _note(self, request_id: str, error: str) -> None:
        if len(self._failures) < FAILURES:
            self._failures.append({"request_id": request_id, "error": error})


def pairs_of(ran: Ran) -> Pairs:
    """The rows that were answered twice; a request whose tensors have no rows on axis 0 is a row of its own."""
    mirrored = ran.mirrored
    assert ran.outputs is not None
    head, rows = mirrored.head, mirrored.rows_each
    arrays = [*mirrored.inputs.values(), *mirrored.outputs.values()]
    is_in_rows = head.is_sliced or all([array.shape[:1] == (sum(rows),) for array in arrays])
    inputs, expected, actual = mirrored.inputs, mirrored.outputs, dict(ran.outputs)
    if not is_in_rows:
        rows = [1]
        inputs, expected, actual = _as_row(inputs), _as_row(expected), _as_row(actual)
    firsts = None if head.first_rows is None else np.array(head.first_rows, np.int64)
    return Pairs(mirrored.request_ids, np.array(rows, np.int64), expected, actual, inputs, first_rows=firsts)


def _as_row(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array[np.newaxis] for name, array in arrays.items()}


def read_kept(path: Path) -> Kept | None:
    """What a process had learned; None where there is nothing, or nothing that can be read."""
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Kept)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("what a shadow had learned cannot be read: %s", error)
        return None


def document_of(
    opening: Opening, told: Told, judgement: Judgement, failures: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """The answer of ``GET /v2/models/NAME/shadow``, but for what its server knows better."""
    return {
        "ref": opening.ref,
        "baseline": opening.baseline,
        "digest": opening.digest,
        "baseline_digest": opening.champion_digest,
        "generation": opening.generation,
        "since": opening.since,
        "traffic": opening.traffic,
        "mirrored": told.mirrored,
        "dropped": told.dropped,
        "in_ring": told.in_ring,
        "compared": told.compared,
        "failed": told.failed,
        **judgement.figures(),
        "rows": told.rows,
        "identical": told.identical,
        "within_tolerance": told.within_tolerance,
        "differing": told.differing,
        "latency": {
            "champion": _latency(told.champion),
            "shadow": _latency(told.shadow),
            "shadow_cpu": _latency(told.cpu),
        },
        "failures": list(failures),
    }


def _latency(histogram: Histogram) -> dict[str, float | None]:
    count = histogram.count
    figures: dict[str, float | None] = {"mean_ms": round(1e3 * histogram.total / count, 4) if count else None}
    for share in (0.5, 0.9, 0.99):
        value = histogram.quantile(share)
        figures[f"p{share * 100:.0f}_ms"] = None if value is None else round(1e3 * value, 4)
    return figures


def remove(path: Path) -> None:
    """Let a file go that may be gone."""
    try:
        os.unlink(path)
    except OSError:
        return
