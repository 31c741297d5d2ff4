"""``quantize``: from an ONNX file to a smaller one that has been shown to be worth having."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

from mlserve.checkpoint.packaging import checkpoint_folder
from mlserve.compare.quality import metric_named
from mlserve.core.evidence import tool_versions, write_sidecar
from mlserve.core.files import release, staging
from mlserve.core.progress import Progress, silent
from mlserve.core.settings import QuantizeSettings
from mlserve.errors import Unsupported, UsageError
from mlserve.graph.document import load_graph
from mlserve.graph.packaging import model_files, read_manifest
from mlserve.graph.signature import read_signature
from mlserve.quantize.attempting import Attempt, Job, attempt
from mlserve.quantize.auto import Budget, Search, search
from mlserve.quantize.calibration import Calibration, RangeRule
from mlserve.quantize.candidates import candidates, refusal
from mlserve.quantize.census import Census, take_census, too_small
from mlserve.quantize.checkpoints.methods import METHODS
from mlserve.quantize.checkpoints.quantizing import quantize_checkpoint
from mlserve.quantize.finding import data_of
from mlserve.quantize.gate import Demands
from mlserve.quantize.holding_out import hold_out
from mlserve.quantize.methods import QUANTIZERS
from mlserve.quantize.plan import summary
from mlserve.quantize.quantizer import CalibratingQuantizer, Quantized, Quantizer
from mlserve.quantize.reporting import QuantizeReport, evidence_of
from mlserve.quantize.targets import Target
from mlserve.quantize.tuning import Tuning, set_aside
from mlserve.quantize.worst import row_errors_of
from mlserve.rows.reading import Roles, Rows, open_rows
from mlserve.runtime.processor import read_processor

AUTO = "auto"
"""Not a method of its own: the search for the best of them."""

_DEFAULTS = QuantizeSettings()
_TOOLS = ("onnx", "onnxruntime", "onnxruntime-gpu")


def quantize(
    model: Path,
    out: Path,
    *,
    method: str,
    evaluate: Path | None = None,
    calibrate: Path | None = None,
    calibration: RangeRule = _DEFAULTS.calibration,
    calibration_rows: int = _DEFAULTS.calibration_rows,
    metric: str = _DEFAULTS.metric,
    max_drop: float = _DEFAULTS.max_drop,
    min_speedup: float | None = _DEFAULTS.min_speedup,
    target: Target = _DEFAULTS.target,
    budget_s: float = _DEFAULTS.budget_s,
    confident: bool = False,
    force: bool = False,
    roles: Roles | None = None,
    ignore_extra: bool = False,
    by: str,
    now: datetime,
    progress: Progress = silent,
    clock: Callable[[], float] = time.monotonic,
) -> QuantizeReport:
    """A smaller, faster model, written only if it is still good enough and gains something.

    A folder is a checkpoint, and goes to ``checkpoints``; ``method`` is then a name there, else in
    ``methods.QUANTIZERS``, or ``auto`` for the best that can be found in ``budget_s`` seconds by ``clock``; then
    ``calibrate`` also gives the rows to rank layers on.

    ``metric`` is taken on the rows of ``evaluate``, for the original
    and for the new file as saved; it may fall by ``max_drop``, absolute, in its own units (with ``confident``, the
    upper bound of the fall's interval is judged). ``calibrate`` is for methods that calibrate: at most
    ``calibration_rows`` of it, which become ranges by the rule ``calibration``. ``force`` writes against the gate, and
    the evidence says so.

    Raises NotFound, UsageError, MissingExtra, InvalidInput, Unsupported; a refusal is a report, not an error.
    """
    if (folder := checkpoint_folder(model)) is not None:
        return quantize_checkpoint(
            folder,
            out,
            method=method,
            evaluate=evaluate,
            metric=metric,
            demands=Demands(max_drop, min_speedup, confident),
            force=force,
            notes=() if calibrate is None else (f"{method} needs no calibration data; --calibrate was not read",),
            by=by,
            now=now,
            progress=progress,
        )
    if method in METHODS:
        raise UsageError(
            f"{method} is for checkpoint folders, and '{model}' is a file",
            hint="give the folder with config.json and safetensors",
        )
    judged_by = metric_named(metric)
    quantizer: Quantizer | None = None if method == AUTO else QUANTIZERS.chosen(method)()
    demands, tools = Demands(max_drop, min_speedup, confident), tool_versions(*_TOOLS)
    document = load_graph(model, weights=False)
    opened = partial(open_rows, signature=read_signature(document), roles=roles or Roles(), ignore_extra=ignore_extra)
    rows = None if evaluate is None else opened(evaluate, labelled=judged_by.needs != "outputs")
    sample: Calibration | None = None
    notes: tuple[str, ...] = ()
    if quantizer is not None and not isinstance(quantizer, CalibratingQuantizer):
        notes = () if calibrate is None else (f"{method} needs no calibration data; --calibrate was not read",)
    elif calibrate is not None:
        sample = Calibration(opened(calibrate), calibration, calibration_rows)
        quantizer = quantizer.calibrated_on(sample) if isinstance(quantizer, CalibratingQuantizer) else None
    census, parent = take_census(document), read_manifest(model)
    objections = (*too_small(census), *_objections(quantizer, census, target))
    if objections and not force:
        return QuantizeReport(None, method, 1.0, 1.0, None, False, objections, notes, parent=parent.digest, tools=tools)
    evaluation = None if rows is None else hold_out(rows, sample)
    tuning: Tuning | None = None
    if quantizer is None and evaluation is not None:
        tuning, evaluation = set_aside(evaluation, sample, metric)
    job = Job(model, out.name, parent, target, evaluation, sample, metric, demands, tools, progress)
    read = [path for path in (evaluate, calibrate) if path is not None]
    with staging(out, inputs=[*(path for _, path in model_files(model)), *read]) as staged:
        found: Search | None = None
        if quantizer is None:
            made, found = _searched(job, census, tuning, staged, Budget(budget_s, clock), objections)
        else:
            made = attempt(job, method, partial(_quantize, quantizer, job), staged, objections)
        report = _report(
            job, made, found, (*notes, *_left_out(rows)), output=out if force or not made.reasons else None
        )
        if report.output is not None:
            judged_on = None if evaluation is None else data_of(evaluation)
            write_sidecar(staged, evidence_of(report, judged_on, read_processor(), demands, by, now))
            release(staged, out)
    return report


def _left_out(rows: Rows | None) -> tuple[str, ...]:
    """What is to be said of evaluation rows that nobody has told the outcome of."""
    if rows is None or not rows.unlabelled_rows:
        return ()
    return (f"{rows.unlabelled_rows} rows of '{rows.path}' have no outcome yet and were left out",)


def _objections(quantizer: Quantizer | None, census: Census, target: Target) -> tuple[str, ...]:
    if quantizer is not None:
        return tuple(quantizer.objections(census, target))
    reason = refusal(census)
    return () if reason is None else (reason,)


def _quantize(quantizer: Quantizer, job: Job, folder: Path) -> Quantized:
    return quantizer.quantize(job.model, folder, job.target)


def _searched(
    job: Job, census: Census, tuning: Tuning | None, staged: Path, budget: Budget, objections: tuple[str, ...]
) -> tuple[Attempt, Search]:
    """What was found; its files lie where ``staged`` is, those of the others are gone."""
    folder = staged.parent / "candidates"
    folder.mkdir()
    tried = candidates(census, job.target, is_calibrated=job.sample is not None, is_judged=job.evaluation is not None)
    found = search(job, tried, tuning, folder, budget, objections)
    chosen = found.closest
    if chosen is None:
        raise Unsupported(f"no method suits this model: {'; '.join(found.notes)}")
    for path in chosen.path.parent.iterdir():
        path.replace(staged.with_name(path.name))
    shutil.rmtree(folder)
    return chosen, found


def _report(
    job: Job, made: Attempt, found: Search | None, notes: tuple[str, ...], output: Path | None
) -> QuantizeReport:
    return QuantizeReport(
        output=output,
        method=made.method,
        size_ratio=made.size_ratio,
        speedup=made.found.speedup,
        metric=made.found.metric,
        passed=not made.reasons,
        reasons=made.reasons,
        notes=(*notes, *made.notes, *(found.notes if found else ())),
        is_forced=output is not None and bool(made.reasons),
        parent=job.parent.digest,
        digest=made.manifest.digest,
        size_bytes=made.manifest.size_bytes,
        latency=made.found.latency,
        tools=job.tools,
        layers=summary(made.plan),
        calibration=made.calibration,
        plan=made.plan,
        search=found,
        errors=row_errors_of(made.found.row_errors, job.evaluation),
    )
