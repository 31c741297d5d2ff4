"""The page of a conformance check: what failed first, then every rule by its subject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlserve.report.page import render_page

TEMPLATE = "conform.html.j2"


def render_conformance(found: Mapping[str, Any]) -> str:
    """The page for ``found``, the document of ``mlserve conform --json``.

    Raises MissingExtra where jinja2 is not installed.
    """
    cases = found["cases"]
    subjects: dict[str, list[Mapping[str, Any]]] = {}
    for case in cases:
        subjects.setdefault(str(case["name"]).partition(".")[0], []).append(case)
    values = {
        "found": found,
        "title": f"{found['server']} at {found['url']}",
        "failures": [case for case in cases if case["outcome"] == "failed"],
        "subjects": subjects.items(),
        "marks": {"passed": "✓", "failed": "✗", "skipped": "–"},
    }
    return render_page(TEMPLATE, values)
