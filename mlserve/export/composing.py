"""``compose``: graphs joined into one file, which is shown to answer as the graphs do one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from mlserve.core.digests import canonical_json
from mlserve.core.evidence import Evidence, tool_versions, write_sidecar
from mlserve.core.files import release, staging
from mlserve.core.progress import Progress, silent
from mlserve.core.settings import ExportSettings
from mlserve.core.tensors import Signature
from mlserve.export.exporter import Arrays, Conversion
from mlserve.export.parity import Parity, reasons
from mlserve.export.proving import measure, saved
from mlserve.graph.composing import Plan, compose, plan_seams, signatures_of
from mlserve.graph.document import check_graph, load_graph
from mlserve.graph.normalising import normalise
from mlserve.graph.packaging import model_files, read_manifest
from mlserve.graph.properties import set_properties
from mlserve.graph.signature import read_signature
from mlserve.rows.reading import Roles, open_rows
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.samples import synthetic_inputs

MADE_UP_ROWS = 16

_DEFAULTS = ExportSettings()


@dataclass(frozen=True, slots=True)
class ComposeReport:
    """What was joined and how it compares. ``output`` is None where parity failed and nothing was written."""

    output: Path | None
    signature: Signature
    seams: tuple[str, ...]
    parity: Parity
    passed: bool
    digest: str
    reasons: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "output": None if self.output is None else str(self.output),
            "signature": self.signature.to_dict(),
            "seams": list(self.seams),
            "parity": self.parity.to_dict(),
            "passed": self.passed,
            "digest": self.digest,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
        }


def compose_files(
    paths: Sequence[Path],
    out: Path,
    *,
    mapping: Mapping[str, str] | None = None,
    sample: Path | None = None,
    rtol: float = _DEFAULTS.rtol,
    atol: float = _DEFAULTS.atol,
    roles: Roles | None = None,
    ignore_extra: bool = False,
    by: str,
    now: datetime,
    progress: Progress = silent,
) -> ComposeReport:
    """The models in ``paths`` as one graph in ``out``, written only if it answers as they do one after the other.

    ``mapping`` is output → input where names differ; ``sample`` holds rows of the whole's inputs, made up without it.
    Beside ``out`` comes ``out.evidence.json``. Raises NotFound, UsageError, InvalidInput, Unsupported.
    """
    inputs = [file for path in paths for _, file in model_files(path)]
    with staging(out, inputs=[*inputs, *([sample] if sample else [])]) as staged:
        progress("join", 0, None)
        models = [load_graph(path) for path in paths]
        digests = [read_manifest(path).digest for path in paths]
        plan = plan_seams(signatures_of(models), mapping or {})
        joined = normalise(compose(models, plan))
        tools = tool_versions("onnx", "onnxruntime-gpu", "onnxruntime")
        set_properties(joined, {"mlserve.composed_of": canonical_json(digests).decode()})
        check_graph(joined)
        graph, signature = saved(joined, staged), read_signature(joined)
        rows = open_rows(sample, signature, roles=roles or Roles(), ignore_extra=ignore_extra) if sample else None
        chain = _Chain(plan, [load_model(path, device="cpu") for path in paths])
        example = synthetic_inputs(signature, MADE_UP_ROWS, seed=0)
        conversion = Conversion(joined, chain.run, tuple(tools), example)
        parity, notes = measure(conversion, graph, signature, rows, rtol, atol, 0, progress)
        graph.close()
        chain.close()
        manifest = read_manifest(staged)
        report = ComposeReport(
            output=out if parity.passed else None,
            signature=signature,
            seams=tuple(_sentence(plan)),
            parity=parity,
            passed=parity.passed,
            digest=manifest.digest,
            reasons=tuple(reasons(parity)) if not parity.passed else (),
            notes=notes,
        )
        if report.passed:
            figures = parity.to_dict() | {"framework": "composed", "composed_of": digests, "seams": list(report.seams)}
            evidence = Evidence(
                kind="parity",
                digest=manifest.digest,
                passed=report.passed if parity.rows else None,
                figures=figures,
                measured_at=now,
                measured_by=by,
                data_digest=None if rows is None else rows.digest,
                tools=tools,
            )
            write_sidecar(staged, [evidence])
            release(staged, out)
    return report


class _Chain:
    """The models run one after the other, as ``plan`` joins them."""

    def __init__(self, plan: Plan, models: Sequence[OnnxModel]) -> None:
        self._plan = plan
        self._models = models

    def run(self, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """The last model's outputs. Raises InvalidInput for what any of them refuses."""
        answers: list[dict[str, np.ndarray[Any, Any]]] = []
        for stage, model in enumerate(self._models):
            fed = self._plan.fed(stage)
            given = {spec.name: inputs[spec.name] for spec in model.signature.inputs if spec.name not in fed}
            given |= {name: answers[seam.source][seam.output] for name, seam in fed.items()}
            answers.append(model.run(given))
        return answers[-1]

    def close(self) -> None:
        for model in self._models:
            model.close()


def _sentence(plan: Plan) -> list[str]:
    return [f"{seam.source + 1}.{seam.output} → {seam.target + 1}.{seam.input}" for seam in plan.seams]
