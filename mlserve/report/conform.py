"""The page of a conformance check: what failed first, then every rule by its subject."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from mlserve.report.page import render_page

TEMPLATE = "conform.html.j2"


def render_conformance(found: Mapping[str, Any]) -> str:
    """The page for ``found``, the document of ``mlserve conform --json``.

    Raises MissingExtra where jinja2 is not installed.
    """
    cases = found["cases"]
    subjects = [(subject, list(members)) for subject, members in groupby(sorted(cases, key=_subject), key=_subject)]
    values = {
        "found": found,
        "title": f"{found['server']} at {found['url']}",
        "failures": [case for case in cases if case["outcome"] == "failed"],
        "subjects": subjects,
        "marks": {"passed": "✓", "failed": "✗", "skipped": "–"},
    }
    return render_page(TEMPLATE, values)


def _subject(case: Mapping[str, Any]) -> str:
    return str(case["name"]).partition(".")[0]
