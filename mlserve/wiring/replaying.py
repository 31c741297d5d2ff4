"""``mlserve replay``: what the words name is opened, replayed, compared and judged, and kept as evidence.

capture ─► Captured         --against, --baseline ─► versions, or a live server      --outcomes ─► labels
                 └──────────────► replay ─► Found ─► documents ─► checks ─► evidence, report, JUnit
                                    └─ every few seconds, and at Ctrl-C ─► checkpoint ─► --resume
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlserve.core.evidence import isoformat
from mlserve.core.progress import Progress, silent
from mlserve.wiring.connecting import now
from mlserve.wiring.replaying_asked import Asked, conditions_of
from mlserve.wiring.replaying_kept import record
from mlserve.wiring.replaying_prepared import Prepared, prepared_for

if TYPE_CHECKING:
    from mlserve.replay.found import Found


@dataclass(frozen=True, slots=True)
class Replayed:
    """The documents of all candidates, judged. ``recorded`` are those kept as evidence; ``notes`` speak against taking
    the figures as they stand."""

    documents: list[dict[str, Any]]
    recorded: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return all(document["passed"] for document in self.documents)

    @property
    def is_empty(self) -> bool:
        """Whether there was no request to judge by: none was replayed, rather than that all failed."""
        return not any(document["coverage"]["replayed"] for document in self.documents)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C; ``requests`` were replayed before, and are kept for ``--resume``."""

    def __init__(self, requests: int) -> None:
        super().__init__()
        self.requests = requests


def replay(
    asked: Asked,
    *,
    flags: Mapping[str, Any] | None = None,
    config_file: Path | None = None,
    progress: Progress = silent,
) -> Replayed:
    """Replay as ``asked``, keep evidence of versions of the registry, and give what was found.

    Raises UsageError, NotFound, Conflict for a checkpoint of another replay, Unavailable, and InvalidInput for a
    capture that cannot be read or a candidate that does not take what was captured.
    """
    from mlserve.replay.judging import judged

    flags = flags or {}
    conditions = conditions_of(asked)
    with prepared_for(asked, flags, config_file) as prepared:
        found = _replayed(prepared, progress)
    documents = [
        _with_metric(judged(document, conditions), asked.metric) for document in prepared.documents(found, now())
    ]
    for document in documents:
        if not document["rows"]:
            # Nothing could be compared, which proves nothing.
            document["passed"] = False
    recorded = record(prepared, documents, flags, config_file)
    return Replayed(documents, recorded, list(_notes(prepared, documents)))


def _replayed(prepared: Prepared, progress: Progress) -> Found:
    """All of it, with a checkpoint left where it is cut short."""
    from concurrent.futures import ThreadPoolExecutor

    found = _begun(prepared)
    # Hashing a capture of gigabytes takes a core for seconds, beside the replay.
    with ThreadPoolExecutor(1, "replay-digest") as pool, _ctrl_c() as stop:
        digest = pool.submit(prepared.captured.digest)
        if not prepared.run(found, progress, stop):
            prepared.pauses.write(found)
            raise Interrupted(found.taken)
        prepared.data_digest = digest.result()
    prepared.pauses.done()
    return found


def _begun(prepared: Prepared) -> Found:
    from mlserve.compare.ladder.comparison import Comparison
    from mlserve.replay.findings import Findings
    from mlserve.replay.found import Found

    if prepared.resumed is not None:
        return Found.restored(prepared.resumed, Comparison.from_state)
    plans = [
        replace(prepared.comparison, precisions=(prepared.comparison.precisions[0], opened.version.precision))
        for opened in prepared.versions
    ]
    return Found([Findings(Comparison(plan)) for plan in plans], started_at=isoformat(now()))


@contextmanager
def _ctrl_c() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was typed. It is heeded where all that was found is of one place; typed again it ends at once."""
    import signal
    import threading

    typed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield typed.is_set
        return

    def heed(number: int, frame: Any) -> None:
        if typed.is_set():
            raise KeyboardInterrupt
        typed.set()

    before = signal.signal(signal.SIGINT, heed)
    try:
        yield typed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def _with_metric(document: dict[str, Any], metric: str | None) -> dict[str, Any]:
    """``document`` with the figure that was asked for by name; None where it could not be measured."""
    if metric is None:
        return document
    from mlserve.compare.naming import values_of

    return document | {"metric": {"name": metric, "value": values_of(document).get(metric)}}


def _notes(prepared: Prepared, documents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    coverage = documents[0]["coverage"]
    if coverage["redacted"]:
        yield "the capture was redacted: inputs may not be what was answered"
    if prepared.baseline is None and len(coverage["versions"]) > 1:
        yield f"versions {', '.join(coverage['versions'])} answered what was recorded: --of N compares with one of them"
    runs, whole = coverage["runs"], coverage["whole_runs"]
    if runs and whole < runs:
        yield f"{runs - whole} of {runs} recorded runs are not whole (a share was captured, or requests of them failed)"
    if left_out := coverage["left_out"]:
        yield "left out: " + ", ".join(f"{count} ({reason})" for reason, count in left_out.items())
    for document in documents:
        if document.get("metric") and document["metric"]["value"] is None:
            yield f"{document['ref']}: '{document['metric']['name']}' could not be measured on these rows"
        if document["failures"]:
            first = document["failures"][0]
            yield (
                f"{document['ref']} did not answer {document['coverage']['failed']} requests, "
                f"the first '{first['request_id']}': {first['error']}"
            )
