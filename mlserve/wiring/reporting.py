"""A version whole, as one document, and as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlserve.core.files import replacing
from mlserve.core.refs import ModelRef
from mlserve.wiring.connecting import App


def describe(app: App, ref: ModelRef) -> dict[str, Any]:
    """All that is known of the version that ``ref`` names: its record, ``evidence`` newest first. Raises NotFound.

    ``load_failures`` are the live servers that could not load it, with their reasons.
    """
    from mlserve.registry.evidencing import evidence_of
    from mlserve.registry.following import live_instances
    from mlserve.registry.versions import get_version

    version = get_version(app.store, ref)
    key = version.name, version.version
    failures = [
        {"host": server.host, "pid": server.pid, "reason": server.failures[key]}
        for server in live_instances(app.store, app.clock())
        if key in server.failures
    ]
    evidence = [item.to_dict() for item in evidence_of(app.store, version.digest)]
    return version.to_dict() | {"evidence": evidence, "load_failures": failures}


def write_card(app: App, document: dict[str, Any], file: Path) -> None:
    """Write what ``describe`` gave to ``file`` as a page, with the moves of that version.

    Raises MissingExtra without the extra ``report``, InvalidInput where the file cannot be written.
    """
    from mlserve.registry.history import history
    from mlserve.report.card import render_card

    moves = [move for move in history(app.store, document["name"]) if document["ref"] in (move.ref, move.previous)]
    page = render_card(document | {"history": [move.to_dict() for move in moves]})
    with replacing(file) as partial:
        partial.write_text(page, encoding="utf-8")
