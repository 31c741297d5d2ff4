"""``export``: from what the user typed to an ONNX file that has been shown to answer as the original does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mlserve.core.digests import canonical_json, digest_file, manifest_of
from mlserve.core.evidence import tool_versions, write_sidecar
from mlserve.core.files import release, staging
from mlserve.core.progress import Progress, silent
from mlserve.core.settings import ExportSettings
from mlserve.errors import NotFound, UsageError
from mlserve.export.axes import parse_axes
from mlserve.export.declaring import declare_outputs
from mlserve.export.exporter import Request
from mlserve.export.frameworks import (
    EXPORTERS,
    FROM_FACTORY,
    USES,
    framework_of_file,
    framework_of_object,
    reads_itself,
)
from mlserve.export.loading import load_source
from mlserve.export.parity import reasons
from mlserve.export.proving import answers, inputs_of, measure, saved
from mlserve.export.reporting import ExportReport, evidence_of
from mlserve.graph.document import MAX_ONE_FILE_BYTES, MAX_OPSET, check_graph
from mlserve.graph.normalising import normalise
from mlserve.graph.packaging import model_files, read_manifest
from mlserve.graph.properties import set_properties
from mlserve.graph.signature import read_signature
from mlserve.rows.reading import Roles, open_rows, open_table

_DEFAULTS = ExportSettings()


def export(
    source: str,
    out: Path,
    *,
    framework: str = "auto",
    sample: Path | None = None,
    rtol: float = _DEFAULTS.rtol,
    atol: float = _DEFAULTS.atol,
    allow_mismatch: int = _DEFAULTS.allow_mismatch,
    opset: int = _DEFAULTS.opset,
    dynamic: str | None = None,
    allow_pickle: bool = False,
    factory: str | None = None,
    task: str | None = None,
    text: bool = False,
    roles: Roles | None = None,
    ignore_extra: bool = False,
    folder: Path | None = None,
    max_one_file_bytes: int = MAX_ONE_FILE_BYTES,
    by: str,
    now: datetime,
    progress: Progress = silent,
) -> ExportReport:
    """Any framework's model as ONNX, written only if it gives the same answers as the original.

    ``source`` is a model file, a folder or ``module:attr``, looked for in ``folder`` (the working directory);
    ``factory`` is the ``module:attr`` that builds the model of a file that holds weights only. ``task`` says what a
    checkpoint of transformers is exported for, ``text`` puts its tokenizer inside. ``sample`` is a data file; without
    one, rows are made up where that is possible. A row is over when an output differs by more than
    ``atol + rtol * |value|``; up to ``allow_mismatch`` such rows pass. ``dynamic`` is read by ``axes.parse_axes``.
    Beside ``out`` comes ``out.evidence.json``, and the weights as ``out.data`` where they have more than
    ``max_one_file_bytes``. The same source gives the same bytes.

    Raises UsageError, NotFound, MissingExtra, InvalidInput, Unsupported; a failed parity is a report, not an error.
    """
    if opset > MAX_OPSET:
        raise UsageError(f"opset {opset} is newer than what the runtime loads", hint=f"--opset {MAX_OPSET}, or lower")
    roles = roles or Roles()
    with staging(out, inputs=_files_read(source, sample, out)) as staged:
        progress("load", 0, None)
        name, request = _request(
            source, framework, sample, roles, opset, dynamic, allow_pickle, factory, folder or Path.cwd()
        )
        request = _with_use(request, name, task=task, text=text)
        progress("convert", 0, None)
        conversion = EXPORTERS[name]().convert(request)
        model = normalise(conversion.model)
        tools = tool_versions(*conversion.tools)
        set_properties(model, _provenance(name, tools) | dict(conversion.properties))
        check_graph(model)
        signature = read_signature(model)
        graph = saved(model, staged, max_one_file_bytes)
        rows = open_rows(sample, signature, roles=roles, ignore_extra=ignore_extra) if sample else None
        if declare_outputs(model, answers(conversion, graph, inputs_of(conversion, signature, rows)[0], signature)):
            graph.close()
            graph, signature = saved(model, staged, max_one_file_bytes), read_signature(model)
        parity, notes = measure(conversion, graph, signature, rows, rtol, atol, allow_mismatch, progress)
        graph.close()
        manifest = read_manifest(staged)
        report = ExportReport(
            output=out if parity.passed else None,
            framework=name,
            signature=signature,
            parity=parity,
            passed=parity.passed,
            digest=manifest.digest,
            size_bytes=manifest.size_bytes,
            sample=str(sample) if sample else "made up",
            reasons=tuple(reasons(parity)) if not parity.passed else (),
            notes=(*conversion.notes, *notes),
            tools=tools,
        )
        if report.passed:
            data_digest = rows.digest if rows is not None else None
            write_sidecar(staged, [evidence_of(report, data_digest, _source_digest(source), by, now)])
            release(staged, out)
    return report


def _files_read(source: str, sample: Path | None, out: Path) -> list[Path]:
    """What must not be overwritten; an ONNX file may be replaced by its own export."""
    path = Path(source)
    if path.is_dir():
        return [*(file for _, file in _files_in(path)), *([sample] if sample else [])]
    files = [path] if path.is_file() else []
    if files and framework_of_file(source) == "onnx":
        files = [] if out.exists() and out.samefile(path) else [file for _, file in model_files(path)]
    return [*files, *([sample] if sample else [])]


def _request(
    source: str,
    framework: str,
    sample: Path | None,
    roles: Roles,
    opset: int,
    dynamic: str | None,
    allow_pickle: bool,
    factory: str | None,
    folder: Path,
) -> tuple[str, Request]:
    axes = parse_axes(dynamic) if dynamic is not None else None
    table = open_table(sample) if sample else None
    if framework != "auto":
        EXPORTERS.chosen(framework)  # an unknown name is said before a large file is loaded
    name = framework_of_file(source) if framework == "auto" else framework
    if factory is not None:
        made = _made(factory, source, folder)
        name = name or framework_of_object(made, factory)
        if name not in FROM_FACTORY:
            raise UsageError(
                f"--factory builds the module of a file of weights, and '{source}' is for {name}",
                hint="leave out --factory",
            )
        return name, Request(source, None, table, roles, opset, axes, allow_pickle, made)
    is_read = name is not None and reads_itself(name, source)
    loaded = None if is_read else load_source(source, allow_pickle=allow_pickle, folder=folder)
    request = Request(source, loaded, table, roles, opset, axes, allow_pickle)
    return name or framework_of_object(loaded, source), request


def _made(factory: str, source: str, folder: Path) -> Any:
    if not Path(source).is_file():
        raise NotFound(f"no file '{source}'", hint="with --factory, give a file of weights")
    if ":" not in factory:
        raise UsageError(f"'{factory}' does not name a function", hint="--factory MODULE:FUNCTION")
    return load_source(factory, allow_pickle=False, folder=folder)


def _with_use(request: Request, framework: str, *, task: str | None, text: bool) -> Request:
    if (task is not None or text) and framework not in USES:
        raise UsageError(
            f"'{request.source}' is a model of {framework}, which has one use", hint="leave out --task and --text"
        )
    return replace(request, task=task, text=text)


def _provenance(framework: str, tools: Mapping[str, str]) -> dict[str, str]:
    """What follows from the model alone: a time, a path or a zip's stamps would change its digest."""
    return {"mlserve.framework": framework, "mlserve.tools": canonical_json(dict(tools)).decode()}


def _source_digest(source: str) -> str | None:
    path = Path(source)
    if path.is_dir():
        return manifest_of(_files_in(path)).digest
    return digest_file(path) if path.is_file() else None


def _files_in(folder: Path) -> list[tuple[str, Path]]:
    """The files of a folder by their path within it; hidden ones are what tools keep there, not the model's."""
    files = [(path.relative_to(folder), path) for path in sorted(folder.rglob("*")) if path.is_file()]
    return [(name.as_posix(), path) for name, path in files if not any(part.startswith(".") for part in name.parts)]
