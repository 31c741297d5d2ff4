"""Checks as JUnit XML, which CI systems show case by case. Source: the schema that Jenkins and GitLab read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as ET

# XML 1.0 has no way to write these, not even escaped.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class JunitCase:
    """One check: the group it is shown under, its name, how it went, and what is to be said of it."""

    group: str
    name: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str
    seconds: float


def render_junit(suite: str, cases: Sequence[JunitCase]) -> bytes:
    """The document for ``cases``, encoded in UTF-8."""
    root = ET.Element("testsuites")
    counts = {
        "tests": len(cases),
        "failures": sum(case.outcome == "failed" for case in cases),
        "skipped": sum(case.outcome == "skipped" for case in cases),
        "errors": 0,
    }
    seconds = sum(case.seconds for case in cases)
    attributes = {"name": _text(suite), "time": f"{seconds:.3f}"} | {key: str(count) for key, count in counts.items()}
    group = ET.SubElement(root, "testsuite", attributes)
    for case in cases:
        names = {"classname": _text(case.group), "name": _text(case.name), "time": f"{case.seconds:.3f}"}
        entry = ET.SubElement(group, "testcase", names)
        if case.outcome == "failed":
            ET.SubElement(entry, "failure", {"message": _text(case.detail)}).text = _text(case.detail)
        elif case.outcome == "skipped":
            ET.SubElement(entry, "skipped", {"message": _text(case.detail)})
        elif case.detail:
            ET.SubElement(entry, "system-out").text = _text(case.detail)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _text(text: str) -> str:
    return _UNWRITABLE.sub("�", text)
