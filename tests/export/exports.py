"""Calling ``export`` in tests: one moment, one person, sources and samples made in the test's own folder."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnxruntime as ort

from mlserve.export.exporting import export
from mlserve.export.reporting import ExportReport

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def run_export(source: str | Path, out: Path = Path("out.onnx"), **options: Any) -> ExportReport:
    return export(str(source), out, by="tester", now=NOW, **options)


def pickled(model: Any, path: Path = Path("model.joblib")) -> Path:
    joblib.dump(model, path)
    return path


def saved_rows(path: Path = Path("rows.npz"), **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def answers(path: Path, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The file's outputs by ONNX Runtime itself, not through our own runtime."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))
