"""What a replay leaves behind: evidence in the registry, a page, JUnit cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlserve.wiring.connecting import connect

if TYPE_CHECKING:
    from mlserve.wiring.replaying_prepared import Prepared

KIND = "replay"


def record(
    prepared: Prepared, documents: Sequence[Mapping[str, Any]], flags: Mapping[str, Any], config_file: Path | None
) -> list[str]:
    """Keep what was measured of versions of the registry; the refs of which something was kept."""
    kept = [
        (opened.version, document)
        for opened, document in zip(prepared.versions, documents, strict=True)
        if opened.is_registered and document["rows"]
    ]
    if not kept:
        return []
    from mlserve.core.evidence import Evidence, tool_versions
    from mlserve.registry.evidencing import add_evidence

    with connect(config_file, flags=flags, registry=flags.get("registry")) as app:
        for version, document in kept:
            assert version.digest is not None
            evidence = Evidence(
                KIND,
                version.digest,
                document["passed"] if document["checks"] else None,
                _figures(document),
                app.clock(),
                app.user,
                data_digest=prepared.data_digest,
                tools=tool_versions("onnxruntime", "onnxruntime-gpu"),
            )
            add_evidence(app.store, evidence)
    return [version.ref for version, _ in kept]


def _figures(document: Mapping[str, Any]) -> dict[str, Any]:
    """What gates may ask for, by the names that ``--fail-on`` takes, and what it was measured against."""
    from mlserve.compare.naming import figures_of, nested

    about = {name: document[name] for name in ("baseline", "batches", "speed", "target")}
    return about | nested(figures_of(document))


def write_report(documents: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Write ``documents`` as one page. Raises MissingExtra without the extra ``report``, InvalidInput."""
    from mlserve.core.files import replacing
    from mlserve.report.replay import render_replay

    page = render_replay(documents)
    with replacing(file) as partial:
        partial.write_text(page, encoding="utf-8")


def write_junit(documents: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Write ``documents`` as JUnit cases: one for each condition, and one for each rung of each candidate."""
    from mlserve.core.files import replacing
    from mlserve.replay.cases import cases_of
    from mlserve.report.junit import render_junit

    with replacing(file) as partial:
        partial.write_bytes(render_junit("mlserve replay", cases_of(documents)))
