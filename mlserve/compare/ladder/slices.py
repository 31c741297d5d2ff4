"""Where in the inputs rows differ more often: the share of differing rows by quarter or category of each feature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from mlserve.compare.ladder.features import Features

Array = np.ndarray[Any, np.dtype[Any]]

SHOWN_FEATURES = 10
_VALUES = 5
_CATEGORIES = 8


def slices(features: Features, differs: Array, weights: Array) -> list[dict[str, Any]]:
    """The slices of the ``SHOWN_FEATURES`` features whose slices stand out most, each feature's in order.

    ``differs`` (rows,) bool, ``weights`` (rows,) how many rows each stands for; so are ``rows`` and ``differing``. A
    number is cut at its quartiles, or by value where it has few; a text has its most frequent values.
    """
    found = []
    for at, name in enumerate(features.names):
        found.append(_sliced(name, _numeric(features.numbers[:, at], weights), differs, weights))
    for at, name in enumerate(features.text_names):
        found.append(_sliced(name, _categories(features.texts[:, at], weights), differs, weights))
    ranked = sorted((part for part in found if len(part[1]) > 1), key=lambda part: -part[0])
    return [row for _, rows in ranked[:SHOWN_FEATURES] for row in rows]


def categories(texts: Array, weights: Array, most: int) -> list[str]:
    """The ``most`` frequent texts of (rows,), by weight."""
    counts: dict[str, float] = {}
    for text, weight in zip(texts.tolist(), weights.tolist(), strict=True):
        if text is not None:
            counts[text] = counts.get(text, 0.0) + weight
    return sorted(counts, key=lambda text: (-counts[text], text))[:most]


def bounds_as_texts(bounds: Sequence[float]) -> list[str]:
    """``bounds``, ascending, as people read them: three significant digits, or as many more as keep them apart.

    >>> bounds_as_texts([0.033285, 0.08106]), bounds_as_texts([1.2341, 1.2349]), bounds_as_texts([412.5, 2019.5])
    (['0.0333', '0.0811'], ['1.234', '1.235'], ['412.5', '2019.5'])
    """
    for digits in range(3, 17):
        texts = [_rounded(bound, digits) for bound in bounds]
        if len(set(texts)) == len(set(bounds)):
            break
    return texts


def _rounded(bound: float, digits: int) -> str:
    # A count or a year keeps its last figure, and the half between two of them.
    if 100 <= abs(bound) < 1e15:
        return f"{bound:.{max(1, digits - 3)}f}".rstrip("0").removesuffix(".")
    return f"{bound:.{digits}g}"


def _sliced(name: str, parts: list[tuple[str, Array]], differs: Array, weights: Array) -> tuple[float, list[Any]]:
    """How far the most unusual slice is from all rows, in standard errors, and the slices."""
    total = float(weights.sum())
    overall = float(weights[differs].sum()) / total if total else 0.0
    rows, farthest = [], 0.0
    for where, mask in parts:
        held = float(weights[mask].sum())
        differing = float(weights[mask & differs].sum())
        if not held:
            continue
        share = differing / held
        error = math.sqrt(max(overall * (1 - overall), 1e-12) / held)
        farthest = max(farthest, abs(share - overall) / error)
        rows.append(
            {"feature": name, "range": where, "rows": round(held), "differing": round(differing), "share": share}
        )
    return farthest, rows


def _numeric(values: Array, weights: Array) -> list[tuple[str, Array]]:
    known = ~np.isnan(values)
    distinct = np.unique(values[known])
    if len(distinct) <= _VALUES:
        parts = [(f"= {value:.6g}", values == value) for value in distinct.tolist()]
    else:
        parts = _quarters(values, known, weights)
    return [*parts, ("missing", ~known)] if not known.all() else parts


def _quarters(values: Array, known: Array, weights: Array) -> list[tuple[str, Array]]:
    order = np.argsort(values[known], kind="stable")
    passed = np.cumsum(weights[known][order])
    at = np.searchsorted(passed, passed[-1] * np.array([0.25, 0.5, 0.75]))
    edges = np.unique(values[known][order][np.minimum(at, len(order) - 1)]).tolist()
    texts = bounds_as_texts(edges)
    parts = [(f"<= {texts[0]}", values <= edges[0])]
    for (low, high), (first, last) in zip(pairwise(edges), pairwise(texts), strict=True):
        parts.append((f"{first} to {last}", (values > low) & (values <= high)))
    return [*parts, (f"> {texts[-1]}", values > edges[-1])]


def _categories(texts: Array, weights: Array) -> list[tuple[str, Array]]:
    return [(text, np.asarray(texts == text, bool)) for text in categories(texts, weights, _CATEGORIES)]
