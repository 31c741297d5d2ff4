"""A checkpoint folder becomes a version: its files chosen and hashed, the model loaded and probed once, then recorded.

DIR ─► files, manifest ─► load + certificate ─► registry
DIR.evidence.json ─────── as imported evidence ────►  │
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mlserve.core.digests import digest_of_data, manifest_of
from mlserve.core.evidence import Evidence, read_sidecar, tool_versions
from mlserve.core.progress import Progress, silent
from mlserve.core.refs import ModelRef, parse_name
from mlserve.wiring.connecting import App
from mlserve.wiring.sources import commit_of

if TYPE_CHECKING:
    from mlserve.registry.records import Registration


def register_checkpoint(
    app: App,
    name: str,
    folder: Path,
    *,
    metrics: Mapping[str, float],
    params: Mapping[str, str],
    tags: Mapping[str, str],
    data_uri: str | None = None,
    parent: ModelRef | None = None,
    note: str | None = None,
    warn: Callable[[str], None],
    progress: Progress = silent,
) -> Registration:
    """Record the checkpoint in ``folder`` as a version of ``name``; the same files again return the version they are.

    What is left out of the version is told to ``warn``. Raises NotFound; MissingExtra without the extra ``llm``;
    InvalidInput for a folder that is no checkpoint or cannot be loaded here; Unsupported; Conflict.
    """
    from mlserve.checkpoint.generation import KIND, SIGNATURE
    from mlserve.checkpoint.packaging import checkpoint_files
    from mlserve.registry.registering import register

    parse_name(name)
    progress("reading the checkpoint", 0, 1)
    package = checkpoint_files(folder)
    manifest = manifest_of(package.files)
    sidecar = read_sidecar(folder, manifest.digest)
    progress("loading it", 0, 1)
    evidence = _evidence(folder, manifest.digest, by=app.user, at=app.clock())
    progress("recording it", 0, 1)
    made = register(
        app.store,
        app.artefacts,
        name,
        dict(package.files),
        manifest,
        SIGNATURE,
        metrics=metrics,
        params=params,
        tags=tags,
        data_uri=data_uri,
        data_digest=digest_of_data(data_uri),
        parent=parent,
        note=note,
        commit=commit_of(folder),
        kind=KIND,
        evidence=[*sidecar, *evidence],
        by=app.user,
        now=app.clock(),
    )
    if package.left_out:
        warn(f"not part of the version: {', '.join(package.left_out)}")
    return made


def _evidence(folder: Path, digest: str, *, by: str, at: datetime) -> list[Evidence]:
    """``load`` and ``certificate``, as for every version; Raises as ``open_checkpoint``."""
    from mlserve.runtime.generation.opening import TOOLS, open_checkpoint

    started_s = time.perf_counter()
    opened = open_checkpoint(folder)
    load_ms = (time.perf_counter() - started_s) * 1000
    # Only after the packages have been found to be there.
    from mlserve.runtime.generation.generating import Generator
    from mlserve.runtime.generation.probing import certify

    tools = tool_versions(*TOOLS)
    figures = {
        "load_ms": round(load_ms, 3),
        "provider": "cpu",
        "architecture": opened.config.architecture,
        "quantization": opened.config.quantization,
        "memory_bytes": opened.memory_bytes,
        "max_tokens": opened.max_tokens,
    }
    certificate = certify(Generator(opened))
    return [
        Evidence("load", digest, True, figures, at, by, tools=tools),
        Evidence("certificate", digest, certificate.batchable, certificate.to_dict(), at, by, tools=tools),
    ]
