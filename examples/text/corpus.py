"""Real sentences that every Python has: what its standard library says of its own functions and classes."""

from __future__ import annotations

import csv
import importlib
import inspect
import re
from pathlib import Path

MODULES = (
    "bisect", "calendar", "csv", "datetime", "decimal", "difflib", "fractions", "glob", "gzip", "hashlib", "heapq",
    "ipaddress", "json", "math", "os", "os.path", "pathlib", "pickle", "random", "secrets", "shutil", "socket",
    "statistics", "string", "subprocess", "tempfile", "textwrap", "threading", "time", "uuid", "zipfile",
)  # fmt: skip
SHORTEST, LONGEST = 20, 200


def sentences() -> dict[str, str]:
    """The first sentence of each public function and class of ``MODULES``, by its name, no sentence twice."""
    found: dict[str, str] = {}
    for module in MODULES:
        for name, item in sorted(vars(importlib.import_module(module)).items()):
            if not name.startswith("_") and callable(item) and (text := _sentence(item)) not in found.values() and text:
                found[f"{module}.{name}"] = text
    return found


def write_csv(path: Path, texts: list[str]) -> None:
    """``texts`` as the column ``text``."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text"])
        writer.writerows([text] for text in texts)


def _sentence(item: object) -> str | None:
    paragraphs = (inspect.getdoc(item) or "").split("\n\n")
    prose = next((text for text in paragraphs if not re.match(r"\w+\(.*", text)), "")
    sentence = re.split(r"(?<=\.)\s", " ".join(prose.split()), maxsplit=1)[0]
    return sentence if SHORTEST <= len(sentence) <= LONGEST else None
