"""``quantize``: from an ONNX file to a smaller one that has been shown to be worth having."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path

from mlserve.checkpoint.packaging import checkpoint_folder
from mlserve.compare.quality import metric_named
from mlserve.core.digests import Manifest, canonical_json
from mlserve.core.evidence import tool_versions, write_sidecar
from mlserve.core.files import release, staging
from mlserve.core.progress import Progress, silent
from mlserve.core.settings import QuantizeSettings
from mlserve.errors import InvalidInput, Unsupported, UsageError
from mlserve.graph.document import check_graph, load_graph, save_graph
from mlserve.graph.normalising import normalise
from mlserve.graph.packaging import model_files, read_manifest
from mlserve.graph.properties import set_properties
from mlserve.graph.signature import read_signature
from mlserve.quantize.calibration import Calibration, RangeRule
from mlserve.quantize.census import take_census, too_small
from mlserve.quantize.checkpoints.methods import METHODS
from mlserve.quantize.checkpoints.quantizing import quantize_checkpoint
from mlserve.quantize.coverage import Coverage, measure_coverage
from mlserve.quantize.finding import calibration_found, data_of
from mlserve.quantize.gate import Demands, Measured, judge
from mlserve.quantize.holding_out import HeldOut, hold_out
from mlserve.quantize.methods import QUANTIZERS
from mlserve.quantize.plan import plan_of, summary
from mlserve.quantize.quantizer import CalibratingQuantizer, Quantized, Quantizer, Target
from mlserve.quantize.reporting import QuantizeReport, evidence_of
from mlserve.quantize.trial import try_both
from mlserve.rows.reading import Roles, open_rows
from mlserve.runtime.processor import read_processor

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
    confident: bool = False,
    force: bool = False,
    roles: Roles | None = None,
    ignore_extra: bool = False,
    by: str,
    now: datetime,
    progress: Progress = silent,
) -> QuantizeReport:
    """A smaller, faster model, written only if it is still good enough and gains something.

    A folder is a checkpoint, and goes to ``checkpoints``; ``method`` is then a name there, else in
    ``methods.QUANTIZERS``. ``metric`` is taken on the rows of ``evaluate``, for the original
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
    metric_named(metric)
    quantizer: Quantizer = QUANTIZERS.chosen(method)()
    demands, tools = Demands(max_drop, min_speedup, confident), tool_versions(*_TOOLS)
    document = load_graph(model, weights=False)
    opened = partial(open_rows, signature=read_signature(document), roles=roles or Roles(), ignore_extra=ignore_extra)
    rows = None if evaluate is None else opened(evaluate)
    sample: Calibration | None = None
    notes: tuple[str, ...] = ()
    if not isinstance(quantizer, CalibratingQuantizer):
        notes = () if calibrate is None else (f"{method} needs no calibration data; --calibrate was not read",)
    elif calibrate is not None:
        sample = Calibration(opened(calibrate), calibration, calibration_rows)
        quantizer = quantizer.calibrated_on(sample)
    parent = read_manifest(model)
    census = take_census(document)
    objections = (*too_small(census), *quantizer.objections(census, target))
    if objections and not force:
        return QuantizeReport(None, method, 1.0, 1.0, None, False, objections, notes, parent=parent.digest, tools=tools)
    evaluation = None if rows is None else hold_out(rows, sample)
    read = [path for path in (evaluate, calibrate) if path is not None]
    with staging(out, inputs=[*(path for _, path in model_files(model)), *read]) as staged:
        progress("quantize", 0, None)
        made, coverage = _make(quantizer, model, target, staged, evaluation)
        calibrated = None if sample is None else calibration_found(sample, evaluation, coverage)
        set_properties(made.model, _provenance(parent, method, made, tools))
        _check_made(made)
        save_graph(made.model, staged)
        manifest = read_manifest(staged)
        found = try_both(model, staged, target, evaluation, metric, progress)
        size_ratio = parent.size_bytes / manifest.size_bytes
        judged_speedup = found.speedup if found.is_on_target else None
        doubts = (*objections, *(calibrated.objections if calibrated else ()))
        reasons = judge(Measured(size_ratio, judged_speedup, found.metric, found.is_finite, doubts), demands)
        report = QuantizeReport(
            output=out if force or not reasons else None,
            method=method,
            size_ratio=size_ratio,
            speedup=found.speedup,
            metric=found.metric,
            passed=not reasons,
            reasons=tuple(reasons),
            notes=(*notes, *made.notes, *(calibrated.notes if calibrated else ()), *found.notes),
            is_forced=force and bool(reasons),
            parent=parent.digest,
            digest=manifest.digest,
            size_bytes=manifest.size_bytes,
            latency=found.latency,
            tools=tools,
            layers=summary(plan_of(made.model)),
            calibration=calibrated,
        )
        if report.output is not None:
            judged_on = None if evaluation is None else data_of(evaluation)
            write_sidecar(staged, evidence_of(report, judged_on, read_processor(), demands, by, now))
            release(staged, out)
    return report


def _make(
    quantizer: Quantizer, model: Path, target: Target, staged: Path, evaluation: HeldOut | None
) -> tuple[Quantized, Coverage | None]:
    """The method's graph, normalised, and how its ranges fit; intermediate files are gone before it is written."""
    with tempfile.TemporaryDirectory(dir=staged.parent) as workshop:
        made = quantizer.quantize(model, Path(workshop), target)
        if made.calibrated is None or evaluation is None:
            coverage = None
        else:
            coverage = measure_coverage(made.calibrated, evaluation)
    normalise(made.model)
    return made, coverage


def _check_made(made: Quantized) -> None:
    try:
        check_graph(made.model)
    except InvalidInput as error:
        raise Unsupported(f"the method does not suit this model: the quantized graph is {error.message}") from error


def _provenance(parent: Manifest, method: str, made: Quantized, tools: Mapping[str, str]) -> dict[str, str]:
    """Only what follows from the input: what was measured would change the digest, and is evidence."""
    return {
        "mlserve.quantize.parent": parent.digest,
        "mlserve.quantize.method": method,
        "mlserve.quantize.options": canonical_json(dict(made.options)).decode(),
        "mlserve.quantize.plan": canonical_json(plan_of(made.model)).decode(),
        "mlserve.quantize.tools": canonical_json(dict(tools)).decode(),
    }
