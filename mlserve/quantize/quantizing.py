"""``quantize``: from an ONNX file to a smaller one that has been shown to be worth having."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

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
from mlserve.quantize.census import take_census
from mlserve.quantize.checkpoints.methods import METHODS
from mlserve.quantize.checkpoints.quantizing import quantize_checkpoint
from mlserve.quantize.gate import Demands, Measured, judge
from mlserve.quantize.methods import QUANTIZERS
from mlserve.quantize.quantizer import Quantized, Quantizer, Target
from mlserve.quantize.reporting import QuantizeReport, evidence_of
from mlserve.quantize.trial import try_both
from mlserve.rows.reading import Roles, open_rows

_DEFAULTS = QuantizeSettings()
_TOOLS = ("onnx", "onnxruntime", "onnxruntime-gpu")


def quantize(
    model: Path,
    out: Path,
    *,
    method: str,
    evaluate: Path | None = None,
    calibrate: Path | None = None,
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
    upper bound of the fall's interval is judged). ``calibrate`` is for methods that calibrate. ``force`` writes against
    the gate, and the evidence says so.

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
    quantizer, demands, tools = (
        QUANTIZERS.chosen(method)(),
        Demands(max_drop, min_speedup, confident),
        tool_versions(*_TOOLS),
    )
    document = load_graph(model, weights=False)
    rows = None
    if evaluate is not None:
        rows = open_rows(evaluate, read_signature(document), roles=roles or Roles(), ignore_extra=ignore_extra)
    parent = read_manifest(model)
    notes = () if calibrate is None else (f"{method} needs no calibration data; --calibrate was not read",)
    objections = tuple(quantizer.objections(take_census(document), target))
    if objections and not force:
        return QuantizeReport(None, method, 1.0, 1.0, None, False, objections, notes, parent=parent.digest, tools=tools)
    inputs = [path for _, path in model_files(model)] + ([evaluate] if evaluate else [])
    with staging(out, inputs=inputs) as staged:
        progress("quantize", 0, None)
        made = _make(quantizer, model, target, staged)
        set_properties(made.model, _provenance(parent, method, made.options, tools))
        _check_made(made)
        save_graph(made.model, staged)
        manifest = read_manifest(staged)
        found = try_both(model, staged, target, rows, metric, progress)
        size_ratio = parent.size_bytes / manifest.size_bytes
        judged_speedup = found.speedup if found.is_on_target else None
        reasons = judge(Measured(size_ratio, judged_speedup, found.metric, found.is_finite, objections), demands)
        report = QuantizeReport(
            output=out if force or not reasons else None,
            method=method,
            size_ratio=size_ratio,
            speedup=found.speedup,
            metric=found.metric,
            passed=not reasons,
            reasons=tuple(reasons),
            notes=(*notes, *made.notes, *found.notes),
            is_forced=force and bool(reasons),
            parent=parent.digest,
            digest=manifest.digest,
            size_bytes=manifest.size_bytes,
            latency=found.latency,
            tools=tools,
        )
        if report.output is not None:
            data_digest = rows.digest if rows is not None else None
            write_sidecar(staged, evidence_of(report, manifest.digest, data_digest, demands, by, now))
            release(staged, out)
    return report


def _make(quantizer: Quantizer, model: Path, target: Target, staged: Path) -> Quantized:
    """The method's graph, normalised; its intermediate files are gone before the result is written."""
    with tempfile.TemporaryDirectory(dir=staged.parent) as workshop:
        made = quantizer.quantize(model, Path(workshop), target)
    normalise(made.model)
    return made


def _check_made(made: Quantized) -> None:
    try:
        check_graph(made.model)
    except InvalidInput as error:
        raise Unsupported(f"the method does not suit this model: the quantized graph is {error.message}") from error


def _provenance(parent: Manifest, method: str, options: Mapping[str, Any], tools: Mapping[str, str]) -> dict[str, str]:
    """Only what follows from the input: what was measured would change the digest, and is evidence."""
    return {
        "mlserve.quantize.parent": parent.digest,
        "mlserve.quantize.method": method,
        "mlserve.quantize.options": canonical_json(dict(options)).decode(),
        "mlserve.quantize.tools": canonical_json(dict(tools)).decode(),
    }
