"""Small versions to try the registry with: the registry never opens a model, so any bytes will do."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mlserve.core.digests import digest_bytes, manifest_of
from mlserve.core.dtypes import DType
from mlserve.core.evidence import Evidence
from mlserve.core.refs import Stage, parse_ref
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.promoting import promote
from mlserve.registry.records import Move, Registration
from mlserve.registry.registering import register
from mlserve.registry.store import Store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNATURE = Signature(
    (TensorSpec("x", DType.FLOAT32, ("batch", 4)),), (TensorSpec("score", DType.FLOAT32, ("batch", 2)),)
)
WIDER = Signature((TensorSpec("x", DType.FLOAT32, ("batch", 5)),), SIGNATURE.outputs)


def at(minutes: float) -> datetime:
    """A moment that many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def add_version(
    store: Store, artefacts: ArtefactStore, name: str = "fraud", content: bytes = b"one", **options: Any
) -> Registration:
    """Register ``content`` as a model of ``name``."""
    signature = options.pop("signature", SIGNATURE)
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        path = Path(file.name)
        manifest = manifest_of([("model.onnx", path)])
        said = {"by": "ann", "now": NOON} | options
        return register(store, artefacts, name, path, manifest, signature, **said)


def add_versions(store: Store, artefacts: ArtefactStore, count: int, name: str = "fraud") -> None:
    """Register versions 1 to ``count``."""
    for number in range(1, count + 1):
        add_version(store, artefacts, name, f"{name} {number}".encode())


def move(store: Store, ref: str, stage: Stage = Stage.PRODUCTION, **options: Any) -> Move:
    """Promote ``ref``."""
    return promote(store, parse_ref(ref), stage, **({"by": "ann", "now": NOON} | options))


def loaded(content: bytes, *, passed: bool | None = True, **options: Any) -> Evidence:
    """Evidence that the model of these bytes loads."""
    said = {"kind": "load", "figures": {"load_ms": 3.5}, "measured_at": NOON, "measured_by": "ann"} | options
    return Evidence(digest=digest_bytes(content), passed=passed, **said)
