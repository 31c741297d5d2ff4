"""``--dynamic``: which axes of which inputs may have any length, and what they are called."""

from __future__ import annotations

import re

from mlserve.errors import UsageError
from mlserve.export.exporter import Axes

NOTHING = "none"
_AXIS = re.compile(r"(?:(?P<input>.+)[:.])?(?P<axis>\d+)=(?P<name>[A-Za-z_]\w*)")


def parse_axes(text: str) -> Axes:
    """The axes that ``text`` names: ``AXIS=NAME`` for every input, ``INPUT:AXIS=NAME`` for one, commas between.

    ``none`` makes every axis fixed. Raises UsageError.

    >>> parse_axes("0=batch,tokens:1=sequence")
    {None: {0: 'batch'}, 'tokens': {1: 'sequence'}}
    """
    axes: dict[str | None, dict[int, str]] = {}
    if text.strip() == NOTHING:
        return axes
    for part in text.split(","):
        match = _AXIS.fullmatch(part.strip())
        if match is None:
            raise UsageError(
                f"'{part.strip()}' does not name an axis", hint="--dynamic 1=sequence, tokens:1=sequence, or none"
            )
        axes.setdefault(match["input"], {})[int(match["axis"])] = match["name"]
    return axes
