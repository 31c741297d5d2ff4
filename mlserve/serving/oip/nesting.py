"""How deep a JSON text nests, found without parsing it, so that hostile nesting reaches no parser."""

from __future__ import annotations

import re

import numpy as np

from mlserve.errors import InvalidInput

_NOT_STRUCTURE = bytes(set(range(256)) - set(b'[]{}"'))
_STRING = re.compile(rb'"[^"]*"')


def depth(text: bytes) -> int:
    """The deepest nesting of arrays and objects in ``text``; brackets inside strings do not count.

    Linear in the text's length, whatever the text holds; of a text that is no JSON it is an upper guess.

    >>> depth(b'{"a": [[1, "[[["], 2]}')
    3
    """
    if b"\\" in text:
        # Escape pairs first, from the left: what is left of \" then is a quote that ends no string.
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = _STRING.sub(b"", text.translate(None, _NOT_STRUCTURE))
    if not brackets:
        return 0
    codes = np.frombuffer(brackets, dtype=np.uint8)
    steps = np.where((codes == ord("[")) | (codes == ord("{")), np.int8(1), np.int8(-1))
    return max(0, int(np.cumsum(steps, dtype=np.int64).max()))


def check_depth(text: bytes, max_depth: int) -> None:
    """Raises InvalidInput if ``text`` nests deeper than ``max_depth``."""
    if text.count(b"[") + text.count(b"{") > max_depth and depth(text) > max_depth:
        raise InvalidInput(f"the JSON nests deeper than {max_depth} levels")
