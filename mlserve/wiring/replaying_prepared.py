"""A replay made ready: all that its words name is opened and checked before a single row is replayed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlserve.core.evidence import isoformat
from mlserve.core.progress import Progress
from mlserve.errors import UsageError
from mlserve.wiring.connecting import home_of, settings_in_force
from mlserve.wiring.remote import is_url
from mlserve.wiring.replaying_asked import RECORDED, Asked, places_of
from mlserve.wiring.replaying_targets import check_fit, opened_target, recorded_again, server_wire

if TYPE_CHECKING:
    from mlserve.compare.ladder.comparison import ComparisonPlan
    from mlserve.replay.answering import Version
    from mlserve.replay.checkpoint import Pauses
    from mlserve.replay.findings import Labels
    from mlserve.replay.found import Found
    from mlserve.replay.grouping import Groups
    from mlserve.replay.replaying import Plan
    from mlserve.rows.captured import CapturedBatch
    from mlserve.rows.captured_reading import Captured
    from mlserve.wiring.replaying_versions import OpenedVersion

IN_PROCESS = "in process"
SWITCH_INTERVAL_S = 1e-4


@dataclass(slots=True)
class Prepared:
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
def prepared_for(asked: Asked, flags: Mapping[str, Any], config_file: Path | None) -> Iterator[Prepared]:
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
        versions = [
            stack.enter_context(opened_target(target, rows, asked, flags, config_file)) for target in asked.against
        ]
        baseline = noise = None
        if asked.baseline != RECORDED:
            baseline = noise = stack.enter_context(
                opened_target(asked.baseline, rows, asked, flags, config_file)
            ).version
        if first is not None:
            check_fit([*(one.version for one in versions), *([baseline] if baseline else [])], first)
        groups = _groups(asked, captured, first)
        if baseline is None and not urls:
            noise = recorded_again(captured, rows, versions, stack, flags, config_file)
        identity = _identity(asked, composition, captured, versions, baseline)
        path = _checkpoint_path(asked, identity, flags, config_file)
        resumed = None
        if asked.resume:
            from mlserve.replay.checkpoint import read_checkpoint

            kept = read_checkpoint(path, identity)
            listed, resumed = kept.listed, kept.found
            captured = Captured(asked.capture, listed)
        prepared = _made(
            asked, captured, versions, baseline, noise, speed, composition, window, identity, path, groups, stack
        )
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
    groups: Groups | None,
    stack: ExitStack,
) -> Prepared:
    from mlserve.replay.checkpoint import Pauses
    from mlserve.replay.lanes import Lanes
    from mlserve.replay.replaying import Plan, replay_fast, replay_paced
    from mlserve.runtime.threads import usable_cores

    cores = usable_cores()
    lanes = max(1, cores - 1) if all(one.is_inline for one in versions) else cores
    plan = Plan(composition, speed, window, asked.limit, lanes, baseline, noise, _labels(asked, captured), groups)
    in_runs = composition == "recorded"
    candidates = [one.version for one in versions]
    pauses = Pauses(path, identity, captured.listed, time.monotonic)
    if is_url(asked.against[0]):
        wire = stack.enter_context(server_wire(asked, versions[0].version))
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
    return Prepared(
        asked, captured, versions, baseline, plan, comparison, target, identity, pauses, run, measures, None
    )


def _groups(asked: Asked, captured: Captured, first: CapturedBatch | None) -> Groups | None:
    """What is ranked together, where the words say it. Raises UsageError, InvalidInput for what cannot say it."""
    if asked.group is None:
        return None
    from mlserve.replay.grouping import groups_by

    groups = groups_by(asked.group, captured.tensors("input"))
    if first is not None:
        groups(first)
    return groups


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
    k = places_of(asked.metric)
    return plan if k is None else replace(plan, k=k)


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
        "--group": asked.group,
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
