"""The card of a model version: one HTML page that says what it is, what it takes, and what has been proven of it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

from mlserve.core.plugins import missing_extra
from mlserve.report.figures import number, proofs, size, tensor

TEMPLATE = "card.html.j2"


def render_card(card: Mapping[str, Any]) -> str:
    """The page for ``card``, the document that ``mlserve show --json`` prints; ``history`` may be added, as moves.

    Whatever is missing is left out; every text is escaped. Raises MissingExtra where jinja2 is not installed.
    """
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise missing_extra("jinja2", "report") from error
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.ChainableUndefined, trim_blocks=True)
    environment.filters |= {"number": number, "size": size, "tensor": tensor}
    template = environment.from_string(resources.files("mlserve.report").joinpath(TEMPLATE).read_text("utf-8"))
    files = card.get("files") or []
    return template.render(
        card=card,
        title=card.get("ref") or "model",
        size_bytes=sum(entry.get("size_bytes", 0) for entry in files if isinstance(entry, Mapping)),
        proofs=proofs(card.get("evidence") or []),
        history=card.get("history") or [],
    )
