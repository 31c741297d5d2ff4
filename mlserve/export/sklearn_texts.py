"""Text steps: split into the same words by the graph as by scikit-learn, on machines with any locale."""

from __future__ import annotations

from typing import Any

from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer

PYTHON_WORDS = r"(?u)\b\w\w+\b"
RUNTIME_WORDS = r"[\p{L}\p{N}_]{2,}"
"""The same words in the runtime's own expressions (RE2), whose ``\\w`` is ASCII only."""


def reads_text(step: Any) -> bool:
    """Whether ``step`` takes a list of texts."""
    return isinstance(step, CountVectorizer | HashingVectorizer)


def text_options(step: Any) -> dict[str, Any]:
    """Options of the converter for a text step.

    Its default locale, en_US, is absent in most containers, where the runtime refuses the graph. Its own words are
    ASCII, and one letter long as well, so that accented words and the pairs around an "a" would be others. Capitals
    beyond ASCII stay capitals in that locale; where it matters, parity fails.
    """
    words = {"tokenexp": RUNTIME_WORDS} if step.analyzer == "word" and step.token_pattern == PYTHON_WORDS else {}
    return {"locale": "C"} | words
