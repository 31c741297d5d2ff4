"""``mlserve drift check``: a version's profile, a window of its traffic and what earlier checks left make an answer.

turn (a lease) ─► state ─► window ─► same window before? ─► that answer again, nothing spent
                              └─► layers ─► one transaction: run, memory, watermark, evidence ─► actions
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlserve.core.progress import Progress, silent
from mlserve.core.refs import ModelRef
from mlserve.errors import InvalidInput, NotFound
from mlserve.wiring.connecting import App
from mlserve.wiring.drift_documents import empty_document, evidence_of, missing_window, reference_part, window_part
from mlserve.wiring.drift_tapping import tapped_of
from mlserve.wiring.drift_windows import Opened, held_against, open_window, read_opened, supply_of
from mlserve.wiring.drifting import run_of
from mlserve.wiring.predicting import Answering, answering

if TYPE_CHECKING:
    from mlserve.drift.answering import Run
    from mlserve.drift.arriving import WindowRows
    from mlserve.drift.checking import Checked, CheckPlan, Memory
    from mlserve.drift.profile import Profile
    from mlserve.drift.running import Turn
    from mlserve.drift.windows import Against, Bounds, WindowWords
    from mlserve.registry.drifting import DriftState
    from mlserve.registry.records import DriftProfile, Version

HISTORY = 30
"""So many earlier runs are told beside this one."""


@dataclass(frozen=True, slots=True)
class CheckAsked:
    """What was asked for: the window, what it is held against, where the capture is, and how long it may take."""

    window: WindowWords
    against: Against = "training"
    capture: Path | None = None
    detectors: tuple[str, ...] = ()
    tap: str | None = None
    timeout_s: float | None = None
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CheckAnswer:
    """The document, and whether this call made it: False where the same window had been checked before."""

    document: dict[str, Any]
    created: bool


@dataclass(frozen=True, slots=True)
class _Check:
    """All that one check works with."""

    app: App
    version: Version
    recorded: DriftProfile
    profile: Profile
    asked: CheckAsked
    plan: CheckPlan
    state: DriftState
    started_at: datetime
    progress: Progress
    config_file: Path | None
    registry: str | None


def check_version(
    app: App,
    ref: ModelRef,
    asked: CheckAsked,
    *,
    registry: str | None = None,
    config_file: Path | None = None,
    progress: Progress = silent,
) -> CheckAnswer:
    """Hold the window that was asked for against the profile of the version that ``ref`` names, and record it.

    A source that is missing is an answer, ``stale``. Raises NotFound for a version without a profile, Conflict while
    another check of it runs, DeadlineExceeded, InvalidInput for a window that cannot be read, MissingExtra.
    """
    from mlserve.drift.checking import CheckPlan
    from mlserve.drift.correcting import Budget
    from mlserve.drift.profile import from_bytes
    from mlserve.drift.running import alone, lease_name, time_limit
    from mlserve.registry.drifting import profile_of, state_of
    from mlserve.registry.versions import get_version

    version = get_version(app.store, ref)
    exact = ModelRef(version.name, version.version)
    recorded = profile_of(app.store, exact)
    profile = from_bytes(app.artefacts.read(recorded.profile_digest))
    told = app.settings.drift
    budget = Budget(told.false_pages_per_quarter, told.checks_per_day, told.correction)
    with ExitStack() as stack:
        stack.enter_context(time_limit(asked.timeout_s))
        turn = stack.enter_context(
            alone(
                app.store,
                lease_name(version.name, recorded.profile_digest),
                clock=app.clock,
                ttl_s=told.lease_s,
                wait_s=asked.wait_s,
            )
        )
        work = _Check(
            app,
            version,
            recorded,
            profile,
            asked,
            CheckPlan(budget, asked.detectors),
            state_of(app.store, recorded.id),
            app.clock(),
            progress,
            config_file,
            registry,
        )
        return _checked(work, turn)


def _checked(work: _Check, turn: Turn) -> CheckAnswer:
    from mlserve.drift.windows import LastRows

    bounds = _bounds(work)
    try:
        opened = open_window(
            work.version.name,
            work.asked.window,
            work.asked.against,
            bounds=bounds,
            capture=work.asked.capture,
            config_file=work.config_file,
            registry=work.registry,
        )
    except (NotFound, InvalidInput) as error:
        return _without_source(work, turn, bounds, error.message)
    with ExitStack() as stack:
        flags = {"registry": work.registry}
        model = stack.enter_context(answering(work.version.ref, flags=flags, config_file=work.config_file))
        run = _runs(model)
        window = _read(work, opened, run, opened.bounds)
        if isinstance(work.asked.window, LastRows):
            # How many came was said; how long that took is no sign of more or less traffic than usual.
            window = replace(window, arrived=replace(window.arrived, start=None, end=None))
        supply = supply_of(opened, window, work.started_at)
        profile, before = work.profile, None
        if opened.before is not None and supply[0] == "enough":
            before = _read(work, opened, run, opened.before)
            supply = supply_of(Opened(opened.path, is_capture=False, bounds=opened.before), before, work.started_at)
            supply = supply if supply[0] == "enough" else (supply[0], f"to hold it against there are {supply[1]}")
            profile = held_against(profile, before)
        key = _key(work, opened.bounds, window, before, is_judged=supply[0] == "enough")
        known = _known(work, key)
        if known is not None:
            return known
        labelled = _labelled(work, opened, run)
        return _judge(work, turn, opened, profile, window, before, labelled, supply, key, run)


def _judge(
    work: _Check,
    turn: Turn,
    opened: Opened,
    profile: Profile,
    window: WindowRows,
    before: WindowRows | None,
    labelled: WindowRows | None,
    supply: tuple[Any, str],
    key: str,
    run: Run | None,
) -> CheckAnswer:
    from mlserve.drift.checking import check, parts_of
    from mlserve.drift.describing import histories
    from mlserve.drift.running import skipped
    from mlserve.registry.drifting import runs_of

    work.progress("judging", 0, 1)
    with tapped_of(work.app, work.version, profile, work.asked.tap) as tapped:
        checked = check(
            profile,
            window,
            work.plan,
            _memory(work.state),
            now=work.started_at,
            supply=supply,
            labelled=labelled,
            run=run,
            tapped=tapped,
        )
    earlier = [one.document for one in reversed(runs_of(work.app.store, work.version.digest, limit=HISTORY))]
    parts = parts_of(checked, profile, window, work.plan, histories(earlier))
    note = skipped(opened.bounds)
    document = {
        **_named(work),
        **parts,
        "reasons": [*parts["reasons"], *([] if note is None else [note])],
        "window": window_part(work.asked.window, opened, window),
        "reference": reference_part(work.asked.against, profile),
    }
    return _recorded(work, turn, document, checked, key, window, opened.bounds)


def _recorded(
    work: _Check, turn: Turn, document: dict[str, Any], checked: Checked, key: str, window: WindowRows, bounds: Bounds
) -> CheckAnswer:
    from mlserve.core.evidence import isoformat
    from mlserve.drift.running import watermark_after
    from mlserve.registry.drifting import DriftState, NewRun, record_run
    from mlserve.wiring.drift_acting import act_after

    now = work.app.clock()
    document = {**document, "started_at": isoformat(work.started_at), "ended_at": isoformat(now)}
    run, created = record_run(
        work.app.store,
        NewRun(
            key,
            work.recorded.id,
            window.digest,
            bounds.start,
            bounds.end,
            window.rows,
            checked.verdict,
            document,
        ),
        DriftState(
            work.state.revision,
            checked.memory.to_streams(),
            watermark_after(work.asked.window, checked.verdict, bounds, work.state.watermark),
        ),
        by=work.app.user,
        now=now,
        lease=turn.lease,
        evidence=[
            evidence_of(
                checked,
                window,
                digest=work.version.digest,
                profile=work.recorded.profile_digest,
                by=work.app.user,
                now=now,
            )
        ],
    )
    actions = act_after(work.app, work.version, run, config_file=work.config_file, require=turn.require)
    return CheckAnswer({**run.document, "actions": actions}, created)


def _without_source(work: _Check, turn: Turn, bounds: Bounds, why: str) -> CheckAnswer:
    """There is nothing to look at. That is an answer, and never ok."""
    from mlserve.core.digests import canonical_json, digest_bytes
    from mlserve.core.evidence import isoformat
    from mlserve.drift.checking import engine_said
    from mlserve.registry.drifting import NewRun, record_run
    from mlserve.wiring.drift_acting import act_after

    now = work.app.clock()
    nothing = digest_bytes(canonical_json([]))
    document = {
        **_named(work),
        **empty_document(why, engine=engine_said(work.plan.options.engine)),
        "window": missing_window(work.asked.window, bounds),
        "reference": reference_part(work.asked.against, work.profile),
        "started_at": isoformat(work.started_at),
        "ended_at": isoformat(now),
    }
    key = digest_bytes(canonical_json([work.recorded.profile_digest, "no source", isoformat(work.started_at)]))
    run, created = record_run(
        work.app.store,
        NewRun(key, work.recorded.id, nothing, bounds.start, bounds.end, 0, "stale", document),
        work.state,
        by=work.app.user,
        now=now,
        lease=turn.lease,
    )
    actions = act_after(work.app, work.version, run, config_file=work.config_file, require=turn.require)
    return CheckAnswer({**run.document, "actions": actions}, created)


def _bounds(work: _Check) -> Bounds:
    from mlserve.core.durations import parse_duration
    from mlserve.drift.windows import bounds_of

    is_captured = work.profile.reference.kind == "capture"
    return bounds_of(
        work.asked.window,
        now=work.started_at,
        watermark=work.state.watermark,
        learned_until=work.profile.reference.end if is_captured else None,
        catch_up=timedelta(seconds=parse_duration(work.app.settings.drift.max_catch_up, "drift.max_catch_up")),
    )


def _read(work: _Check, opened: Opened, run: Run | None, bounds: Bounds) -> WindowRows:
    return read_opened(work.profile, opened, work.version.version, run, bounds=bounds, progress=work.progress)


def _labelled(work: _Check, opened: Opened, run: Run | None) -> WindowRows | None:
    """Rows back to where outcomes were judged to, for labels come later than rows; None for those of the window."""
    from mlserve.drift.concept import unjudged

    if not opened.is_capture or opened.before is not None:
        return None
    wider = unjudged(_memory(work.state).losses, opened.bounds)
    return None if wider == opened.bounds else _read(work, opened, run, wider)


def _runs(model: Answering) -> Run | None:
    """The model, unless an input holds for a whole call: no row of a window says what it was."""
    return run_of(model) if all(spec.dims for spec in model.signature.inputs) else None


def _memory(state: DriftState) -> Memory:
    from mlserve.drift.checking import Memory

    return Memory.from_streams(state.streams)


def _key(work: _Check, bounds: Bounds, window: WindowRows, before: WindowRows | None, *, is_judged: bool) -> str:
    """The same rows held against the same in the same way are one run; of too few it counts when it was asked."""
    from mlserve.core.digests import canonical_json, digest_bytes
    from mlserve.drift.checking import moment

    budget = work.plan.budget
    when = None if is_judged else [moment(bounds.start), moment(bounds.end)]
    parts = [
        work.recorded.profile_digest,
        work.version.digest,
        window.digest,
        work.asked.against,
        None if before is None else before.digest,
        list(work.plan.detectors),
        work.asked.tap,
        [budget.false_pages_per_quarter, budget.checks_per_day, budget.correction],
        when,
    ]
    return digest_bytes(canonical_json(parts))


def _known(work: _Check, key: str) -> CheckAnswer | None:
    from mlserve.registry.drifting import find_run

    run = find_run(work.app.store, key)
    return None if run is None else CheckAnswer(dict(run.document), created=False)


def _named(work: _Check) -> dict[str, Any]:
    return {"ref": work.version.ref, "digest": work.version.digest, "profile": work.recorded.profile_digest}
