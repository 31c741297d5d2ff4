"""What a shadow has shown, as evidence: the document without what is about single requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NOT_KEPT = ("failures", "state", "reason", "pid", "in_ring")
"""What is about single requests stays where traffic is kept, and is erased there; the rest is of the moment."""


def figures_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a shadow's document, for the registry; ``metrics`` are at the top too, where gates look.

    >>> figures_of({"rows": 2, "metrics": {"ks": 0.1}, "failures": [1]})
    {'ks': 0.1, 'rows': 2, 'metrics': {'ks': 0.1}}
    """
    kept = {name: value for name, value in document.items() if name not in _NOT_KEPT}
    return {**document.get("metrics", {}), **kept}
