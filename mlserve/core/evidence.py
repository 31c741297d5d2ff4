"""Evidence: one recorded measurement of one model digest, and the file that carries it until a registry does.

``export`` and ``quantize`` measure before a version exists, so they leave ``MODEL.evidence.json`` beside the model;
``register`` reads it and marks it ``imported``. What a registry's own commands measure is ``measured``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from mlserve.core.files import replacing
from mlserve.errors import InvalidInput

SIDECAR_SCHEMA = 1
Origin = Literal["measured", "imported"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A measurement. Its identity is ``(digest, kind, data_digest, tools)``; a later one of that identity replaces it.

    ``kind`` is a short name such as ``parity``, ``accuracy``, ``load`` or ``certificate``; ``passed`` is None where
    there was nothing to pass; ``figures`` are JSON values, numbers wherever a gate may ask for them (dots reach into
    objects).
    """

    kind: str
    digest: str
    passed: bool | None
    figures: Mapping[str, Any]
    measured_at: datetime
    measured_by: str
    data_digest: str | None = None
    tools: Mapping[str, str] = field(default_factory=dict)
    origin: Origin = "measured"

    def figure(self, name: str) -> float | None:
        """The number called ``name`` (dots reach into objects), or None if there is none; NaN is none."""
        value: Any = self.figures
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return float(value) if is_number and not math.isnan(value) else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "digest": self.digest,
            "passed": self.passed,
            "figures": dict(self.figures),
            "data_digest": self.data_digest,
            "tools": dict(self.tools),
            "measured_at": isoformat(self.measured_at),
            "measured_by": self.measured_by,
            "origin": self.origin,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Evidence:
        """The inverse of ``to_dict``. Raises InvalidInput."""
        try:
            if fields["origin"] not in ("measured", "imported") or not isinstance(fields["figures"], Mapping):
                raise InvalidInput("not a measurement: origin or figures are off")
            if not any(fields["passed"] is verdict for verdict in (True, False, None)):
                raise InvalidInput(f"not a measurement: passed is {fields['passed']!r}")
            measured_at = datetime.fromisoformat(fields["measured_at"])
            if measured_at.tzinfo is None:
                raise InvalidInput(f"not a measurement: '{fields['measured_at']}' has no time zone")
            return cls(
                kind=str(fields["kind"]),
                digest=str(fields["digest"]),
                passed=fields["passed"],
                figures=dict(fields["figures"]),
                measured_at=measured_at.astimezone(UTC),
                measured_by=str(fields["measured_by"]),
                data_digest=fields.get("data_digest"),
                tools=dict(fields.get("tools") or {}),
                origin=fields["origin"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"not a measurement: {fields!r}") from error


def sidecar_path(model: Path) -> Path:
    """Where the evidence of a model file lies: ``MODEL.onnx.evidence.json``."""
    return model.with_name(model.name + ".evidence.json")


def write_sidecar(model: Path, evidence: Sequence[Evidence]) -> Path:
    """Write ``evidence`` beside ``model``, whole or not at all, and return the path."""
    path = sidecar_path(model)
    document = {"schema": SIDECAR_SCHEMA, "evidence": [item.to_dict() for item in evidence]}
    with replacing(path) as partial:
        partial.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_sidecar(model: Path, digest: str) -> list[Evidence]:
    """The evidence beside ``model`` as ``imported``; empty if there is no file.

    Raises InvalidInput for a file that is damaged, of an unknown schema, or about other bytes than ``digest``.
    """
    path = sidecar_path(model)
    if not path.exists():
        return []
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["schema"] != SIDECAR_SCHEMA:
            raise InvalidInput(f"'{path}' has schema {document['schema']}, known here is {SIDECAR_SCHEMA}")
        items = [replace(Evidence.from_dict(item), origin="imported") for item in document["evidence"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidInput(f"'{path}' is not an evidence file", hint="delete it, or export again") from error
    if any(item.digest != digest for item in items):
        raise InvalidInput(f"'{path}' speaks of another model than '{model}'", hint="delete it, or export again")
    return items


def tool_versions(*packages: str) -> dict[str, str]:
    """The installed version of each package that is installed, mlserve always among them."""
    versions = {}
    for package in ("mlserve", *packages):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def isoformat(moment: datetime) -> str:
    """ISO 8601 in UTC with a Z.

    >>> isoformat(datetime(2026, 1, 2, tzinfo=UTC))
    '2026-01-02T00:00:00Z'
    """
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
