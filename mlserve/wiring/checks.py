"""One row of ``mlserve doctor``, and what several checks ask of installed packages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?P<range>[^;]*)")
_EXTRA = re.compile(r"extra\s*==\s*['\"](?P<extra>[A-Za-z0-9._-]+)['\"]")


@dataclass(frozen=True, slots=True)
class Check:
    """One look: whether it is well, what was seen, and whether mlserve can do without it."""

    name: str
    ok: bool
    detail: str
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Requirement:
    """A package that mlserve asks for: the versions it takes; ``extra`` is None for what the base install needs."""

    name: str
    range: str
    extra: str | None


def requirements() -> Iterator[Requirement]:
    """Every requirement of mlserve, once for each extra."""
    try:
        lines = metadata.requires("mlserve") or []
    except metadata.PackageNotFoundError:
        return
    seen: set[tuple[str, str | None]] = set()
    for line in lines:
        found, extra = _REQUIREMENT.match(line), _EXTRA.search(line)
        assert found is not None
        key = (found["name"], extra["extra"] if extra else None)
        if key not in seen:
            seen.add(key)
            yield Requirement(key[0], found["range"].strip(), key[1])


def version_of(package: str) -> str | None:
    """The version of an installed package; None where it is not."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
