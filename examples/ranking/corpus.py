"""Queries and documents that every Python has: what the modules of its standard library say of what is in them."""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MODULES = (
    "argparse", "ast", "base64", "calendar", "codecs", "collections", "configparser", "contextlib", "csv", "datetime",
    "decimal", "difflib", "email.utils", "ftplib", "functools", "getpass", "gettext", "gzip", "hashlib", "heapq",
    "http.client", "imaplib", "inspect", "io", "ipaddress", "json", "linecache", "locale", "logging", "mailbox", "math",
    "mimetypes", "operator", "os", "pathlib", "pickle", "pkgutil", "platform", "pstats", "queue", "random", "re",
    "shutil", "signal", "smtplib", "socket", "ssl", "statistics", "string", "struct", "subprocess", "tarfile",
    "tempfile", "textwrap", "threading", "time", "tokenize", "traceback", "types", "urllib.parse", "urllib.request",
    "uuid", "warnings", "weakref", "xml.etree.ElementTree", "zipfile",
)  # fmt: skip
SHORTEST, LONGEST = 25, 140
MOST_DOCUMENTS, MOST_QUERIES = 6, 4
"""Of one module, so that none has the word alone."""


@dataclass(frozen=True)
class Text:
    """A sentence, the module that it is of, and the name of what it describes."""

    module: str
    name: str
    sentence: str


def documents() -> list[Text]:
    """The first sentence of each public function and class, by module and name, no sentence twice."""
    return _distinct(
        (Text(module, name, _sentences(prose)[0]) for module in MODULES for name, prose in _described(module)),
        MOST_DOCUMENTS,
    )


def queries() -> list[Text]:
    """Further sentences of the same docstrings, and of those of the modules themselves."""
    described = ((m, name, prose) for m in MODULES for name, prose in [("", _prose_of(m)), *_described(m)])
    return _distinct(
        (Text(module, name, text) for module, name, prose in described for text in _sentences(prose)[1:]), MOST_QUERIES
    )


def words(sentence: str) -> set[str]:
    """The words of a sentence, in lower case, those of three letters and more.

    >>> sorted(words("Return the base-name of a path."))
    ['base', 'name', 'path', 'return', 'the']
    """
    return set(re.findall(r"[a-z]{3,}", sentence.lower()))


def _distinct(texts: Iterable[Text], most: int) -> list[Text]:
    """The usable ones of ``texts``, no sentence twice, of each module the first ``most``."""
    found: dict[str, Text] = {}
    counts: Counter[str] = Counter()
    for text in texts:
        if _is_usable(text.sentence) and text.sentence not in found and counts[text.module] < most:
            found[text.sentence] = text
            counts[text.module] += 1
    return list(found.values())


def _prose_of(module: str) -> str:
    return _prose(importlib.import_module(module))


def _described(module: str) -> Iterator[tuple[str, str]]:
    """The public functions and classes that ``module`` itself has, in order of name, with their prose."""
    for name, item in sorted(vars(importlib.import_module(module)).items()):
        is_own = getattr(item, "__module__", module) in (module, module.rpartition(".")[2], f"_{module}", None)
        if not name.startswith("_") and callable(item) and is_own and (prose := _prose(item)):
            yield name, prose


def _prose(item: object) -> str:
    """The paragraphs of its docstring that are no signatures, examples or lists."""
    paragraphs = (inspect.getdoc(item) or "").split("\n\n")
    return " ".join(" ".join(p.split()) for p in paragraphs if not re.match(r"\w+\(|>>>|[-*=]|\s", p))


def _sentences(prose: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", prose)


def _is_usable(sentence: str) -> bool:
    return SHORTEST <= len(sentence) <= LONGEST and not re.search(r"[{}<>|=]|--", sentence)
