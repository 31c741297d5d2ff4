"""``quantize`` for a checkpoint folder: a smaller one, shown to be good enough, or none."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from mlserve.checkpoint.config import CONFIG_FILE, read_config
from mlserve.checkpoint.packaging import checkpoint_files, read_manifest
from mlserve.core.digests import digest_file, manifest_of
from mlserve.core.evidence import tool_versions, write_sidecar
from mlserve.core.folders import release_folder, staging_folder
from mlserve.core.progress import Progress, silent
from mlserve.errors import InvalidInput, Unsupported
from mlserve.quantize.checkpoints.making import make
from mlserve.quantize.checkpoints.methods import method_named
from mlserve.quantize.checkpoints.metrics import check_metric
from mlserve.quantize.checkpoints.reporting import CheckpointReport, evidence_of
from mlserve.quantize.gate import Demands, Measured, judge
from mlserve.quantize.measuring import overall_speedup
from mlserve.runtime.generation.opening import TOOLS, require_packages
from mlserve.runtime.processor import read_processor


def quantize_checkpoint(
    source: Path,
    out: Path,
    *,
    method: str,
    evaluate: Path | None,
    metric: str,
    demands: Demands,
    force: bool = False,
    notes: tuple[str, ...] = (),
    by: str,
    now: datetime,
    progress: Progress = silent,
) -> CheckpointReport:
    """A smaller checkpoint in the new folder ``out``, written only if it is still good enough and gains something.

    ``evaluate`` is a .txt, or a data file with a column ``text``. A folder at ``out`` is replaced if it is a checkpoint
    itself. Raises NotFound, UsageError, MissingExtra, InvalidInput, Unsupported; a refusal is a report, not an error.
    """
    chosen = method_named(method)
    check_metric(metric)
    config = read_config(source)
    if config.quantization is not None:
        raise Unsupported(f"'{source}' is quantized already, by {config.quantization}", hint="take what it was made of")
    require_packages()
    # Torch, which these need, only after it has been found to be there.
    from mlserve.quantize.checkpoints.trial import try_both

    package, tools = checkpoint_files(source), tool_versions(*TOOLS)
    parent = manifest_of(package.files)
    data_digest = None if evaluate is None else digest_file(evaluate)
    _check_replaceable(out)
    with staging_folder(out, inputs=[source]) as staged:
        progress("quantize", 0, None)
        provenance = {"parent": parent.digest, "method": method, "options": dict(chosen.options), "tools": tools}
        make(source, package, chosen, staged, provenance)
        found = try_both(source, staged, evaluate, progress)
        manifest = read_manifest(staged)
        judged = found.metrics.get(metric)
        size_ratio, speedup = parent.size_bytes / manifest.size_bytes, overall_speedup(found.latency) or 1.0
        reasons = judge(Measured(size_ratio, speedup, judged, found.is_finite), demands)
        report = CheckpointReport(
            output=out if force or not reasons else None,
            method=method,
            size_ratio=size_ratio,
            speedup=speedup,
            metric=judged,
            passed=not reasons,
            reasons=tuple(reasons),
            notes=(*notes, *found.notes),
            is_forced=force and bool(reasons),
            parent=parent.digest,
            digest=manifest.digest,
            size_bytes=manifest.size_bytes,
            latency=found.latency,
            tools=tools,
            metrics=found.metrics,
            speeds=found.speeds,
            memory_bytes=found.memory_bytes,
        )
        if report.output is not None:
            write_sidecar(staged, evidence_of(report, data_digest, read_processor(), demands, by, now))
            release_folder(staged, out)
    return report


def _check_replaceable(out: Path) -> None:
    """Raises InvalidInput for a folder that holds something else, which nobody asked to lose."""
    if out.is_dir() and any(out.iterdir()) and not (out / CONFIG_FILE).is_file():
        raise InvalidInput(f"'{out}' is a folder with other things in it", hint="-o with another name")
