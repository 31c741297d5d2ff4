"""A text as windows of tokens that overlap, so that nearly every token is judged after much of what precedes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice


@dataclass(frozen=True, slots=True)
class Window:
    """``tokens`` to run; those from ``scored_from`` on (1 at least) are judged, each by what precedes it."""

    tokens: tuple[int, ...]
    scored_from: int

    @property
    def scored(self) -> int:
        return len(self.tokens) - self.scored_from


def windows(tokens: Iterable[int], length: int, stride: int) -> Iterator[Window]:
    """Windows of ``length`` tokens that begin ``stride`` (less than that) apart; each token is judged once.

    A text of one token has none. Source: sliding windows as in transformers' page on perplexity.

    >>> [(window.tokens, window.scored_from) for window in windows(range(7), length=4, stride=2)]
    [((0, 1, 2, 3), 1), ((2, 3, 4, 5), 2), ((4, 5, 6), 2)]
    """
    coming = iter(tokens)
    held = tuple(islice(coming, length))
    scored_from = 1
    while len(held) > scored_from:
        yield Window(held, scored_from)
        fresh = tuple(islice(coming, stride))
        held = (*held[-(length - stride) :], *fresh)
        scored_from = len(held) - len(fresh)
