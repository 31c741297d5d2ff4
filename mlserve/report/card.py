"""The card of a model version: one HTML page that says what it is, what it takes, and what has been proven of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlserve.report.figures import proofs
from mlserve.report.page import render_page

TEMPLATE = "card.html.j2"


def render_card(card: Mapping[str, Any]) -> str:
    """The page for ``card``, the document that ``mlserve show --json`` prints; ``history`` may be added, as moves.

    Whatever is missing is left out; every text is escaped. Raises MissingExtra where jinja2 is not installed.
    """
    files = card.get("files") or []
    values = {
        "card": card,
        "title": card.get("ref") or "model",
        "size_bytes": sum(entry.get("size_bytes", 0) for entry in files if isinstance(entry, Mapping)),
        "proofs": proofs(card.get("evidence") or []),
        "history": card.get("history") or [],
    }
    return render_page(TEMPLATE, values)
