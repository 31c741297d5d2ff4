"""A model file becomes a version: read, loaded, certified, answered once on the golden rows, then recorded.

MODEL.onnx ─► manifest, signature ─► load + certificate ─► golden answers ─► registry
MODEL.onnx.evidence.json ─────────────── as imported evidence ──────────────►    │
the repository it lies in ────────────── commit, dirty ─────────────────────►    ▼
                                                                           Registration
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mlserve.core.digests import digest_of_data
from mlserve.core.evidence import Evidence, read_sidecar, tool_versions
from mlserve.core.progress import Progress, silent
from mlserve.core.refs import ModelRef, parse_name
from mlserve.core.tensors import Signature
from mlserve.errors import InvalidInput
from mlserve.wiring.connecting import App
from mlserve.wiring.sources import commit_of

if TYPE_CHECKING:
    import onnx

    from mlserve.registry.records import Registration
    from mlserve.rows.reading import Roles
    from mlserve.runtime.model import Arrays, OnnxModel

MAX_GOLDEN_ROWS = 256
"""Every server answers the golden rows at each load, so there must be few of them."""


def register_file(
    app: App,
    name: str,
    model: Path,
    *,
    metrics: Mapping[str, float],
    params: Mapping[str, str],
    tags: Mapping[str, str],
    roles: Roles,
    data_uri: str | None = None,
    golden: Path | None = None,
    ignore_extra: bool = False,
    parent: ModelRef | None = None,
    note: str | None = None,
    progress: Progress = silent,
) -> Registration:
    """Record the model at ``model`` as a version of ``name``; the same bytes again return the version they are.

    Raises NotFound; InvalidInput for a model that cannot be loaded here or golden rows that do not fit it; Conflict.
    """
    from mlserve.core.digests import manifest_of
    from mlserve.graph.document import check_graph, load_graph
    from mlserve.graph.packaging import model_files
    from mlserve.graph.signature import read_signature
    from mlserve.registry.registering import register

    parse_name(name)
    progress("reading the model", 0, 1)
    files = model_files(model)
    manifest = manifest_of(files)
    sidecar = read_sidecar(model, manifest.digest)
    graph = load_graph(model, weights=False)
    check_graph(graph)
    signature = read_signature(graph)
    progress("loading it", 0, 1)
    moment = app.clock()
    loaded, load_ms = _load(model)
    rows = _golden_inputs(golden, signature, roles, ignore_extra=ignore_extra) if golden else None
    progress("certifying that rows are independent", 0, 1)
    evidence = _evidence(loaded, load_ms, graph, rows, manifest.digest, by=app.user, at=moment)
    answers = _golden_answers(loaded, rows) if rows is not None else None
    loaded.close()
    progress("recording it", 0, 1)
    return register(
        app.store,
        app.artefacts,
        name,
        dict(files),
        manifest,
        signature,
        metrics=metrics,
        params=params,
        tags=tags,
        data_uri=data_uri,
        data_digest=digest_of_data(data_uri),
        parent=parent,
        note=note,
        commit=commit_of(model),
        golden=answers,
        evidence=[*sidecar, *evidence],
        by=app.user,
        now=app.clock(),
    )


def _load(model: Path) -> tuple[OnnxModel, float]:
    from mlserve.runtime.model import load_model
    from mlserve.runtime.threads import plan_for_throughput, usable_cores

    # As the server runs it, so that the certificate holds there.
    started_s = time.perf_counter()
    loaded = load_model(model, threads=plan_for_throughput(usable_cores()))
    return loaded, (time.perf_counter() - started_s) * 1000


def _evidence(
    loaded: OnnxModel,
    load_ms: float,
    graph: onnx.ModelProto,
    rows: Arrays | None,
    digest: str,
    *,
    by: str,
    at: datetime,
) -> list[Evidence]:
    from mlserve.graph.properties import provenance_of
    from mlserve.runtime.certificate import certify

    tools = tool_versions("onnxruntime", "onnxruntime-gpu", "onnx", "numpy")
    opsets = {entry.domain or "ai.onnx": entry.version for entry in graph.opset_import}
    figures = {
        "load_ms": round(load_ms, 3),
        "provider": loaded.providers[0],
        "opset": opsets.get("ai.onnx"),
        "ir_version": graph.ir_version,
    }
    certificate = certify(loaded, rows=rows)
    made = provenance_of(graph)
    provenance = [Evidence("provenance", digest, None, made, at, by, tools=tools)] if made else []
    return [
        *provenance,
        Evidence("load", digest, True, figures, at, by, tools=tools),
        Evidence("certificate", digest, certificate.batchable, certificate.to_dict(), at, by, tools=tools),
    ]


def _golden_inputs(path: Path, signature: Signature, roles: Roles, *, ignore_extra: bool) -> Arrays:
    from mlserve.rows.reading import open_rows

    batch = open_rows(path, signature, roles=roles, ignore_extra=ignore_extra).read(limit=MAX_GOLDEN_ROWS + 1)
    count = max((len(array) for array in batch.inputs.values() if array.ndim), default=0)
    if count == 0:
        raise InvalidInput(f"'{path}' has no rows to keep as golden")
    if count > MAX_GOLDEN_ROWS:
        raise InvalidInput(
            f"'{path}' has more than {MAX_GOLDEN_ROWS} rows",
            hint="golden rows are checked at every load: choose a few that matter",
        )
    return batch.inputs


def _golden_answers(loaded: OnnxModel, rows: Arrays) -> bytes:
    from mlserve.runtime.golden import make_golden

    return make_golden(loaded, rows)
