"""What ``export`` answers, and the evidence that it leaves beside the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mlserve.core.evidence import Evidence
from mlserve.core.tensors import Signature
from mlserve.export.parity import Parity


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported and how it compares. ``output`` is None where parity failed and nothing was written."""

    output: Path | None
    framework: str
    signature: Signature
    parity: Parity
    passed: bool
    digest: str
    size_bytes: int
    sample: str
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "output": None if self.output is None else str(self.output),
            "framework": self.framework,
            "signature": self.signature.to_dict(),
            "parity": self.parity.to_dict(),
            "passed": self.passed,
            "digest": self.digest,
            "size_bytes": self.size_bytes,
            "sample": self.sample,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "tools": dict(self.tools),
        }


def evidence_of(
    report: ExportReport, data_digest: str | None, source_digest: str | None, by: str, now: datetime
) -> Evidence:
    """The ``parity`` of the file as written; ``passed`` is None where there was nothing to compare with."""
    measured = report.parity.rows > 0
    return Evidence(
        kind="parity",
        digest=report.digest,
        passed=report.passed if measured else None,
        figures=report.parity.to_dict()
        | {"framework": report.framework, "sample": report.sample, "source_digest": source_digest},
        measured_at=now,
        measured_by=by,
        data_digest=data_digest,
        tools=report.tools,
    )
