"""What a shadow has shown, as evidence: the document without what is about single requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_NOT_KEPT = ("worst", "failures", "state", "reason", "pid", "in_ring")
"""Rows with their inputs stay where traffic is kept, and are erased there."""


def figures_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a shadow's document, for the registry; ``metrics`` are at the top too, where gates look.

    >>> figures_of({"rows": 2, "metrics": {"ks": 0.1}, "worst": [1]})
    {'ks': 0.1, 'rows': 2, 'metrics': {'ks': 0.1}}
    """
    kept = {name: value for name, value in document.items() if name not in _NOT_KEPT}
    return {**document.get("metrics", {}), **kept}
