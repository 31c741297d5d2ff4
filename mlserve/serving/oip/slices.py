"""Long lists of numbers in a request's JSON, taken out of the text and read a slice at a time.

    {"inputs": [{…, "data": [0.5, 1.25, …]}]}  ─►  {"inputs": [{…, "data": [4711]}]}  and  4711 → where the list stood

What is left is small and parsed whole. A slice fits the cache of the processor, which makes all of it quicker; and
the parser, which keeps the interpreter's lock, has it for a millisecond at a time and not for all of the text.
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import randbits
from typing import Any

import numpy as np
import simdjson

LEAST_BYTES = 16 << 10
"""A shorter list stays where it is."""

SLICE_BYTES = 128 << 10

_KEY = b'"data"'
_GAP_BYTES = 16
"""Between key and list: a colon, and a few blanks."""


class Span(tuple[int, int]):
    """Where the inside of a list begins and ends."""

    __slots__ = ()


def lift_lists(text: bytes, least_bytes: int = LEAST_BYTES) -> tuple[bytes, dict[int, Span]]:
    """``text`` with a number in each flat list that is long and follows ``"data"``, and the spans by that number.

    Text inside a JSON string may look the same, so whoever uses a span must have found its number, which nobody can
    guess, as the only element of a list; a span that is left over then was none.
    """
    parts: list[bytes] = []
    spans: dict[int, Span] = {}
    marker, at, search = randbits(60) + 1, 0, 0
    while (key := text.find(_KEY, search)) >= 0:
        search = key + len(_KEY)
        opening = text.find(b"[", search, search + _GAP_BYTES)
        if opening < 0 or text[search:opening].strip() != b":":
            continue
        # No list of numbers has quotes or braces, and what comes behind one has.
        quote = text.find(b'"', opening)
        brace = text.find(b"}", opening, quote if quote >= 0 else len(text))
        search = brace if brace >= 0 else quote if quote >= 0 else len(text)
        closing = text.rfind(b"]", opening, search)
        if closing - opening <= least_bytes or text.find(b"[", opening + 1, closing) >= 0:
            continue
        closing = text.find(b"]", opening, closing + 1)
        marker += 1
        spans[marker] = Span((opening + 1, closing))
        parts += (text[at : opening + 1], b"%d" % marker)
        at = closing
    if not spans:
        return text, spans
    return b"".join([*parts, text[at:]]), spans


def read_slices(
    text: bytes, span: Span, read: Callable[[Any], np.ndarray[Any, Any]], slice_bytes: int = SLICE_BYTES
) -> np.ndarray[Any, Any]:
    """The list at ``span`` as one array: ``read`` gets it in simdjson's arrays of a slice each, and keeps none.

    Raises ValueError for what is no list, or has an element missing, and what ``read`` raises.
    """
    parser = simdjson.Parser()
    found = []
    at, end = span
    while at <= end:
        stop = end if end - at <= slice_bytes else text.rfind(b",", at, at + slice_bytes)
        if stop < 0:
            raise ValueError("an element is longer than any number")
        # The parser refuses to go on while anybody holds what it made before.
        part = read(parser.parse(b"[%b]" % text[at:stop]))
        if not part.size:
            raise ValueError("an element is missing")
        found.append(part)
        at = stop + 1
    return np.concatenate(found)
