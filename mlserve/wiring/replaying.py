"""``mlserve replay``: what the words name is opened, replayed, compared and judged, and kept as evidence.

capture ─► Captured         --against, --baseline ─► versions, or a live server      --outcomes ─► labels
                 └──────────────► replay ─► Found ─► documents ─► checks ─► evidence, report, JUnit
                                    └─ every few seconds, and at Ctrl-C ─► checkpoint ─► --resume
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlserve.core.evidence import isoformat
from mlserve.core.progress import Progress, silent
from mlserve.errors import InvalidInput, UsageError
from mlserve.wiring.connecting import connect, home_of, now, settings_in_force
from mlserve.wiring.remote import is_url

if TYPE_CHECKING:
    from mlserve.compare.ladder.comparison import ComparisonPlan
    from mlserve.replay.answering import Version
    from mlserve.replay.checkpoint import Pauses
    from mlserve.replay.findings import Labels
    from mlserve.replay.found import Found
    from mlserve.replay.judging import Condition
    from mlserve.replay.replaying import Plan
    from mlserve.rows.captured import CapturedBatch
    from mlserve.rows.captured_reading import Captured
    from mlserve.wiring.replaying_versions import OpenedVersion

KIND = "replay"
RECORDED = "recorded"
IN_PROCESS = "in process"
SWITCH_INTERVAL_S = 5e-4


@dataclass(frozen=True, slots=True)
class Asked:
    """The words of a replay. ``since_ns`` and ``until_ns`` bound the time of arrival; None is what is usual."""

    capture: Path
    against: Sequence[str]
    baseline: str = RECORDED
    speed: str = "max"
    batches: Literal["recorded", "fresh"] | None = None
    atol: float | None = None
    rtol: float | None = None
    metric: str | None = None
    outcomes: Path | None = None
    fail_on: Sequence[str] = ()
    resume: bool = False
    limit: int | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    version: int | None = None
    connections: int | None = None
    report: Path | None = None
    api_key_file: Path | None = None


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
    conditions = _conditions(asked)
    with _prepared(asked, flags, config_file) as prepared:
        found = _replayed(prepared, progress)
    documents = [
        _with_metric(judged(document, conditions), asked.metric) for document in prepared.documents(found, now())
    ]
    for document in documents:
        if not document["rows"]:
            # Nothing could be compared, which proves nothing.
            document["passed"] = False
    recorded = _record(prepared, documents, flags, config_file)
    return Replayed(documents, recorded, list(_notes(prepared, documents)))


def _conditions(asked: Asked) -> list[Condition]:
    from mlserve.replay.judging import parse_condition

    metrics = [asked.metric] if asked.metric else []
    return [parse_condition(text, metrics) for text in asked.fail_on]


@dataclass(slots=True)
class _Prepared:
    """A replay that is ready to run."""

    asked: Asked
    captured: Captured
    versions: list[OpenedVersion]
    baseline: Version | None
    plan: Plan
    comparison: ComparisonPlan
    target: str
    identity: dict[str, Any]
    pauses: Pauses
    run: Callable[[Found, Progress, Callable[[], bool]], bool]
    measures: str
    resumed: Mapping[str, Any] | None = None
    data_digest: str = ""

    def documents(self, found: Found, ended_at: Any) -> list[dict[str, Any]]:
        from mlserve.replay.document import About, document_of

        documents = []
        for opened, findings in zip(self.versions, found.candidates, strict=True):
            about = About(
                opened.version.ref,
                self.baseline.ref if self.baseline is not None else RECORDED,
                str(self.asked.capture),
                self.data_digest,
                self.plan.composition,
                self.asked.speed,
                self.target,
                self.measures,
                self.captured.versions,
                self.captured.is_redacted,
                isoformat(ended_at),
            )
            documents.append(document_of(about, found, findings))
        return documents


@contextmanager
def _prepared(asked: Asked, flags: Mapping[str, Any], config_file: Path | None) -> Iterator[_Prepared]:
    """Everything opened and checked before a single row is replayed."""
    from mlserve.replay.schedule import parse_speed
    from mlserve.rows.captured import Window
    from mlserve.rows.captured_reading import Captured

    speed = parse_speed(asked.speed)
    urls = [target for target in asked.against if is_url(target)]
    if urls and len(asked.against) > 1:
        raise UsageError("a live server is replayed to by itself", hint=f"--against {urls[0]} alone")
    if urls and asked.batches == RECORDED:
        raise UsageError("a server makes its own batches", hint="--batches fresh, or --against REF in process")
    composition = asked.batches or ("fresh" if urls else "recorded")
    window = Window(asked.since_ns, asked.until_ns, asked.version)
    listed = None
    captured = Captured(asked.capture)
    first = next((batch for batch in captured.batches(window) if batch.requests), None)
    rows = first.inputs if first is not None and first.has_rows else None
    with ExitStack() as stack:
        versions = [stack.enter_context(_opened(target, rows, asked, flags, config_file)) for target in asked.against]
        baseline = noise = None
        if asked.baseline != RECORDED:
            baseline = noise = stack.enter_context(_opened(asked.baseline, rows, asked, flags, config_file)).version
        if first is not None:
            _check_fit([*(one.version for one in versions), *([baseline] if baseline else [])], first)
        if baseline is None and not urls:
            noise = _recorded_again(captured, rows, versions, stack, flags, config_file)
        identity = _identity(asked, composition, captured, versions, baseline)
        path = _checkpoint_path(asked, identity, flags, config_file)
        resumed = None
        if asked.resume:
            from mlserve.replay.checkpoint import read_checkpoint

            kept = read_checkpoint(path, identity)
            listed, resumed = kept.listed, kept.found
            captured = Captured(asked.capture, listed)
        prepared = _made(asked, captured, versions, baseline, noise, speed, composition, window, identity, path, stack)
        prepared.resumed = resumed
        yield prepared


def _made(
    asked: Asked,
    captured: Captured,
    versions: list[OpenedVersion],
    baseline: Version | None,
    noise: Version | None,
    speed: float | None,
    composition: Literal["recorded", "fresh"],
    window: Any,
    identity: dict[str, Any],
    path: Path,
    stack: ExitStack,
) -> _Prepared:
    from mlserve.replay.checkpoint import Pauses
    from mlserve.replay.lanes import Lanes
    from mlserve.replay.replaying import Plan, replay_fast, replay_paced
    from mlserve.runtime.threads import usable_cores

    cores = usable_cores()
    lanes = max(1, cores - 1) if all(one.is_inline for one in versions) else cores
    plan = Plan(composition, speed, window, asked.limit, lanes, baseline, noise, _labels(asked, captured))
    in_runs = composition == "recorded"
    candidates = [one.version for one in versions]
    pauses = Pauses(path, identity, captured.listed, time.monotonic)
    if is_url(asked.against[0]):
        wire = stack.enter_context(_wire(asked, versions[0].version))
        target, measures = asked.against[0], "round trip"

        def run(found: Found, progress: Progress, stop: Callable[[], bool]) -> bool:
            return replay_paced(captured, wire, plan, found, in_runs=False, pause=pauses, stop=stop, progress=progress)

    elif speed is None:
        target, measures = IN_PROCESS, "compute"

        def run(found: Found, progress: Progress, stop: Callable[[], bool]) -> bool:
            with _quick_switches():
                return replay_fast(captured, candidates, plan, found, pause=pauses, stop=stop, progress=progress)

    else:
        target, measures = IN_PROCESS, "queue and compute"

        def run(found: Found, progress: Progress, stop: Callable[[], bool]) -> bool:
            with _quick_switches(), Lanes(candidates, composition, max(1, lanes // len(candidates))) as wire:
                return replay_paced(
                    captured, wire, plan, found, in_runs=in_runs, pause=pauses, stop=stop, progress=progress
                )

    # What was recorded was answered by the version that is known again, or is taken for one in full precision.
    known = baseline or noise
    precision = "fp32" if known is None else known.precision
    comparison = _comparison_plan(asked, precision)
    return _Prepared(
        asked, captured, versions, baseline, plan, comparison, target, identity, pauses, run, measures, None
    )


def _replayed(prepared: _Prepared, progress: Progress) -> Found:
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


def _begun(prepared: _Prepared) -> Found:
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
def _opened(
    target: str, rows: Any, asked: Asked, flags: Mapping[str, Any], config_file: Path | None
) -> Iterator[OpenedVersion]:
    from mlserve.wiring.replaying_versions import OpenedVersion, opened_version

    if not is_url(target):
        with opened_version(target, rows, flags, config_file) as opened:
            yield opened
        return
    from mlserve.replay.answering import Version
    from mlserve.wiring.remote import RemoteModel, parse_url, read_key

    remote = RemoteModel(parse_url(target), key=read_key(asked.api_key_file))
    try:
        signature, digest = remote.signature(), remote.digest
    finally:
        remote.close()

    def never(_: Any) -> Any:
        raise AssertionError("a server is asked over its wire")

    yield OpenedVersion(Version(target, digest, signature, never, None), is_registered=False, is_inline=False)


@contextmanager
def _wire(asked: Asked, version: Version) -> Iterator[Any]:
    from mlserve.wiring.remote import RemoteModel, parse_url, read_key
    from mlserve.wiring.replaying_http import CONNECTIONS, HttpWire

    key = read_key(asked.api_key_file)
    address = parse_url(asked.against[0])
    remote = RemoteModel(address, key=key)
    try:
        wire = HttpWire(
            remote,
            address.base,
            version.signature,
            key=key,
            clock=time.monotonic,
            connections=asked.connections or CONNECTIONS,
        )
    finally:
        remote.close()
    try:
        yield wire
    finally:
        wire.close()


def _check_fit(versions: Sequence[Version], first: CapturedBatch) -> None:
    """Raises InvalidInput where what was captured cannot be asked of one of ``versions``."""
    from mlserve.replay.answering import misfits

    for version in versions:
        problems = misfits(version.signature, first)
        if problems:
            raise InvalidInput(f"{version.ref} does not take what was captured: {'; '.join(problems)}")


def _recorded_again(
    captured: Captured,
    rows: Any,
    versions: Sequence[OpenedVersion],
    stack: ExitStack,
    flags: Mapping[str, Any],
    config_file: Path | None,
) -> Version | None:
    """The version that answered, for the noise floor, where it is a candidate itself or the registry has it."""
    from mlserve.wiring.replaying_versions import opened_version, recorded_version

    digests = set(captured.versions.values())
    same = next((one.version for one in versions if {one.version.digest} == digests), None)
    if same is not None:
        return same
    ref = recorded_version(captured.model, captured.versions, flags, config_file)
    if ref is None:
        return None
    return stack.enter_context(opened_version(ref, rows, flags, config_file)).version


def _labels(asked: Asked, captured: Captured) -> Labels | None:
    """The truth of captured rows: of a file of outcomes, else of what lies beside the capture."""
    from mlserve.rows.outcomes import Outcomes

    if asked.outcomes is not None:
        from mlserve.rows.outcome_rows import read_outcomes

        outcomes = Outcomes([])
        for entries in read_outcomes(asked.outcomes):
            outcomes.add(entries)
    else:
        outcomes = Outcomes.open(asked.capture, captured.model)
    if not len(outcomes):
        return None

    def labels(batch: CapturedBatch) -> Any:
        rows_each = batch.rows_each if batch.has_rows else batch.rows_each * 0 + 1
        return outcomes.labels(batch.ids.column, rows_each, batch.first_rows)

    return labels


def _comparison_plan(asked: Asked, precision: str) -> ComparisonPlan:
    from mlserve.compare.ladder.comparison import ComparisonPlan

    plan = ComparisonPlan(atol=asked.atol, rtol=asked.rtol, precisions=(precision, precision))
    k = _k_of(asked.metric)
    return plan if k is None else replace(plan, k=k)


def _k_of(metric: str | None) -> int | None:
    """How many places a metric such as ``ndcg@10`` looks at; None where it does not say. Raises UsageError.

    >>> _k_of("ndcg@5"), _k_of("agreement"), _k_of(None)
    (5, None, None)
    """
    name, at, number = (metric or "").partition("@")
    if not at:
        return None
    if not name or not number.isdecimal() or not int(number):
        raise UsageError(f"--metric '{metric}' is none", hint="such as ndcg@10")
    return int(number)


def _identity(
    asked: Asked,
    composition: str,
    captured: Captured,
    versions: Sequence[OpenedVersion],
    baseline: Version | None,
) -> dict[str, Any]:
    """What two replays must share for one to go on with what the other began."""
    return {
        "capture": str(asked.capture.absolute()),
        "model": captured.model,
        "--against": [[one.version.ref, one.version.digest] for one in versions],
        "--baseline": RECORDED if baseline is None else [baseline.ref, baseline.digest],
        "--speed": asked.speed,
        "--batches": composition,
        "--atol": asked.atol,
        "--rtol": asked.rtol,
        "--metric": asked.metric,
        "--outcomes": None if asked.outcomes is None else str(asked.outcomes.absolute()),
        "--limit": asked.limit,
        "--since": asked.since_ns,
        "--until": asked.until_ns,
        "--of": asked.version,
    }


def _checkpoint_path(
    asked: Asked, identity: Mapping[str, Any], flags: Mapping[str, Any], config_file: Path | None
) -> Path:
    """Beside the report; else in the project's home, else in the user's cache."""
    from mlserve.replay.checkpoint import path_in

    if asked.report is not None:
        return asked.report.with_name(f".{asked.report.name}.checkpoint")
    home = home_of(settings_in_force(flags, config_file))
    folder = home if home is not None and home.is_dir() else Path.home() / ".cache" / "mlserve"
    folder.mkdir(parents=True, exist_ok=True)
    return path_in(folder, identity)


@contextmanager
def _quick_switches() -> Iterator[None]:
    """Threads hand the interpreter to each other often: a run that is over must not wait for one that compares."""
    import sys

    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)


def _with_metric(document: dict[str, Any], metric: str | None) -> dict[str, Any]:
    """``document`` with the figure that was asked for by name; None where it could not be measured."""
    if metric is None:
        return document
    from mlserve.compare.naming import values_of

    return document | {"metric": {"name": metric, "value": values_of(document).get(metric)}}


def _record(
    prepared: _Prepared, documents: Sequence[Mapping[str, Any]], flags: Mapping[str, Any], config_file: Path | None
) -> list[str]:
    """Keep what was measured of versions of the registry; the refs of which something was kept."""
    kept = [
        (opened.version, document)
        for opened, document in zip(prepared.versions, documents, strict=True)
        if opened.is_registered and document["rows"]
    ]
    if not kept:
        return []
    from mlserve.core.evidence import Evidence, tool_versions
    from mlserve.registry.evidencing import add_evidence

    with connect(config_file, flags=flags, registry=flags.get("registry")) as app:
        for version, document in kept:
            assert version.digest is not None
            evidence = Evidence(
                KIND,
                version.digest,
                document["passed"] if document["checks"] else None,
                _figures(document),
                app.clock(),
                app.user,
                data_digest=prepared.data_digest,
                tools=tool_versions("onnxruntime", "onnxruntime-gpu"),
            )
            add_evidence(app.store, evidence)
    return [version.ref for version, _ in kept]


def _figures(document: Mapping[str, Any]) -> dict[str, Any]:
    """What gates may ask for, by the names that ``--fail-on`` takes, and what it was measured against."""
    from mlserve.compare.naming import figures_of, nested

    about = {name: document[name] for name in ("baseline", "batches", "speed", "target")}
    return about | nested(figures_of(document))


def _notes(prepared: _Prepared, documents: Sequence[Mapping[str, Any]]) -> Iterator[str]:
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


def write_report(documents: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Write ``documents`` as one page. Raises MissingExtra without the extra ``report``, InvalidInput."""
    from mlserve.core.files import replacing
    from mlserve.report.replay import render_replay

    page = render_replay(documents)
    with replacing(file) as partial:
        partial.write_text(page, encoding="utf-8")


def write_junit(documents: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Write the checks of ``documents`` as JUnit cases, one for each condition and candidate."""
    from mlserve.core.files import replacing
    from mlserve.report.junit import JunitCase, render_junit

    cases = [
        JunitCase(
            document["ref"],
            check["expression"],
            "passed" if check["passed"] else "failed",
            f"{check['name']} is {check['value']}",
            document["throughput"]["seconds"],
        )
        for document in documents
        for check in document["checks"]
    ]
    with replacing(file) as partial:
        partial.write_bytes(render_junit("mlserve replay", cases))
