"""Pairs for the ladder's tests: from arrays, at random, and cut into pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import strategies as st

from mlserve.compare.pairs import Pairs

Array = np.ndarray[Any, np.dtype[Any]]


def pairs_of(
    expected: Mapping[str, Any],
    actual: Mapping[str, Any],
    inputs: Mapping[str, Any] | None = None,
    weights: Sequence[float] | None = None,
    start: int = 0,
) -> Pairs:
    """A request a row; their ids are numbers from ``start``."""
    rows = len(next(iter(expected.values())))
    return Pairs(
        request_ids=[f"r{start + row}" for row in range(rows)],
        rows_each=np.ones(rows, np.int64),
        expected={name: np.asarray(values) for name, values in expected.items()},
        actual={name: np.asarray(values) for name, values in actual.items()},
        inputs={name: np.asarray(values) for name, values in (inputs or {}).items()},
        weights=None if weights is None else np.asarray(weights, np.float64),
    )


def piece(pairs: Pairs, rows: slice) -> Pairs:
    """Those rows of pairs whose requests have a row each."""
    cut = lambda side: {name: values[rows] for name, values in side.items()}  # noqa: E731
    return Pairs(
        request_ids=pairs.request_ids[rows],
        rows_each=pairs.rows_each[rows],
        expected=cut(pairs.expected),
        actual=cut(pairs.actual),
        inputs=cut(pairs.inputs),
        weights=None if pairs.weights is None else pairs.weights[rows],
    )


def classifier(rows: int, seed: int, noise: float = 1e-7, classes: int = 7, features: int = 3) -> Pairs:
    """A classifier's labels and scores, some rows equal to the bit, some moved by ``noise``, a few NaN."""
    rng = np.random.default_rng(seed)
    scores = rng.random((rows, classes)).astype(np.float32)
    moved = scores + (rng.random((rows, 1)) < 0.5) * rng.normal(0, noise, scores.shape).astype(np.float32)
    moved[rng.random(rows) < 0.05, 0] = np.nan
    return pairs_of(
        {"label": scores.argmax(axis=1), "scores": scores},
        {"label": np.nan_to_num(moved).argmax(axis=1), "scores": moved.astype(np.float32)},
        {"x": rng.normal(size=(rows, features)), "country": rng.choice(["us", "de", "fr"], rows).astype(object)},
        rng.choice([1.0, 2.0], rows),
    )


cuts = st.tuples(st.integers(0, 400), st.integers(0, 2**16), st.lists(st.integers(0, 400), max_size=6))
"""Rows, a seed, and where to cut."""


def pieces(pairs: Pairs, at: Sequence[int]) -> list[Pairs]:
    bounds = [0, *sorted(min(cut, pairs.rows) for cut in at), pairs.rows]
    return [piece(pairs, slice(a, b)) for a, b in pairwise(bounds)]
