"""Where rows differ, as sentences: a small decision tree over the inputs, read leaf by leaf."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlserve.compare.ladder.features import Features
from mlserve.compare.ladder.slices import bounds_as_texts, categories
from mlserve.core.plugins import missing_extra
from mlserve.errors import MissingExtra

Array = np.ndarray[Any, np.dtype[Any]]

DEPTH = 3
_LEAF_ROWS = 10
_CATEGORIES = 5
_Between = tuple[float | None, float | None]
_LARGEST = 1e30  # whose sum over a sample is still a float32


def rules(features: Features, differs: Array, weights: Array) -> list[dict[str, Any]]:
    """The leaves in which rows differ more often than over all, those with most differing rows first.

    ``where`` reads ``3.2 < amount <= 5 and country = us``, with rounded bounds; ``rows``, ``differing`` and ``share``
    are by ``weights``. A tree of depth ``DEPTH`` (CART, Gini), both kinds of rows weighing as much in its growth, since
    differing ones are few. Raises MissingExtra without scikit-learn.
    """
    try:
        from sklearn.tree import DecisionTreeClassifier
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("sklearn", "scipy", "joblib"):
            raise
        raise missing_extra("sklearn", "sklearn") from error
    names, columns = _columns(features, weights)
    if not names or differs.all() or not differs.any():
        return []
    growing = np.where(differs, weights / weights[differs].sum(), weights / weights[~differs].sum())
    leaf = max(1, min(_LEAF_ROWS, int(differs.sum()) // 2))
    tree = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=leaf, random_state=0)
    tree.fit(columns, differs, sample_weight=growing * len(growing))
    leaves = tree.apply(columns)
    overall = float(weights[differs].sum() / weights.sum())
    found = []
    for node, conditions in _paths(tree.tree_, names):
        inside = leaves == node
        rows, differing = float(weights[inside].sum()), float(weights[inside & differs].sum())
        if conditions and rows and differing / rows > overall:
            where = " and ".join(conditions)
            found.append(
                {"where": where, "rows": round(rows), "differing": round(differing), "share": differing / rows}
            )
    return sorted(found, key=lambda rule: (-float(rule["differing"]), str(rule["where"])))


def try_rules(features: Features, differs: Array, weights: Array) -> tuple[list[dict[str, Any]], str | None]:
    """``rules``, or none and a note of what to install."""
    try:
        return rules(features, differs, weights), None
    except MissingExtra as error:
        return [], f"no rules: {error.message}; {error.hint}"


def _columns(features: Features, weights: Array) -> tuple[list[str], Array]:
    """Numbers as they are, of each text its frequent values as 0 or 1 under the name ``country = us``."""
    names, columns = list(features.names), [features.numbers]
    for at, name in enumerate(features.text_names):
        texts = features.texts[:, at]
        for value in categories(texts, weights, _CATEGORIES):
            names.append(f"{name} = {value}")
            columns.append(np.asarray(texts == value, np.float64)[:, np.newaxis])
    # A tree compares as float32, and takes NaN but no infinity.
    return names, np.clip(np.concatenate(columns, axis=1), -_LARGEST, _LARGEST).astype(np.float32)


def _paths(tree: Any, names: list[str]) -> list[tuple[int, list[str]]]:
    """Every leaf with the conditions that lead there, one a feature, in the order in which they were asked for."""
    found: list[tuple[int, list[str]]] = []
    waiting: list[tuple[int, dict[str, _Between]]] = [(0, {})]
    while waiting:
        node, bounds = waiting.pop()
        left, right = int(tree.children_left[node]), int(tree.children_right[node])
        if left == right:
            found.append((node, [_said(name, *between) for name, between in bounds.items()]))
            continue
        name, bound = names[int(tree.feature[node])], float(tree.threshold[node])
        low, high = bounds.get(name, (None, None))
        # The deeper bound is the tighter one.
        waiting.append((right, {**bounds, name: (bound, high)}))
        waiting.append((left, {**bounds, name: (low, bound)}))
    return found


def _said(name: str, low: float | None, high: float | None) -> str:
    """
    >>> _said("amount", 0.033285, 0.08106), _said("age", None, 21.5), _said("country = us", None, 0.5)
    ('0.0333 < amount <= 0.0811', 'age <= 21.5', 'country is not us')
    """
    if " = " in name:
        return name if low is not None else name.replace(" = ", " is not ", 1)
    texts = bounds_as_texts([bound for bound in (low, high) if bound is not None])
    if low is not None and high is not None:
        return f"{texts[0]} < {name} <= {texts[1]}"
    return f"{name} {'<=' if low is None else '>'} {texts[0]}"
