"""How different two summaries are, whatever the number of rows: the sizes that a feature must reach to alert.

    numeric      wasserstein_sd     the mean way that values moved, in standard deviations of the reference
    categorical  total_variation    the share of rows that would have to change their value

Functions on counts take many at once: (…, cells), so that noise is measured by thousands of draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from mlserve.drift.categorical import CategorySummary
from mlserve.drift.numeric import NumericSummary
from mlserve.rows.tables import Array
from mlserve.stats import distances

EffectName = Literal["wasserstein_sd", "total_variation"]
Summary = NumericSummary | CategorySummary


def effect_name(summary: Summary) -> EffectName:
    """What the effect of columns of this kind is called."""
    return "wasserstein_sd" if isinstance(summary, NumericSummary) else "total_variation"


def effect(reference: Summary, window: Summary) -> float | None:
    """The effect between two summaries of one column; None where either has no value, NaN never.

    Of numbers where the reference is constant, and so has no spread to measure by: 0 if the window's are that one too,
    else infinity.
    """
    if isinstance(reference, NumericSummary) and isinstance(window, NumericSummary):
        if not reference.finite or not window.finite:
            return None
        moved = _moved(reference, window)
        return moved / reference.sd if reference.sd > 0 else (0.0 if moved == 0 else float("inf"))
    if isinstance(reference, CategorySummary) and isinstance(window, CategorySummary):
        if not reference.present or not window.present:
            return None
        names = [*reference.counts, *(name for name in window.counts if name not in reference.counts)]
        one, other = (category_counts(summary, names) for summary in (reference, window))
        return float(total_variation(one, other))
    raise AssertionError("both are of one kind")


def counts_of(summary: Summary) -> Array:
    """The summary as (cells,) counts, an extra one at the end for categories that are not counted by name."""
    if isinstance(summary, NumericSummary):
        return summary.counts
    return category_counts(summary, list(summary.counts))


def category_counts(summary: CategorySummary, names: Sequence[str]) -> Array:
    """How often each of ``names`` came, and all others together: (names + 1,)."""
    counted = [summary.counts.get(name, 0) for name in names]
    return np.array([*counted, summary.present - sum(counted)], np.int64)


def total_variation(one: Array, other: Array) -> Array:
    """Half the summed difference of shares, in [0, 1]; (…, cells) counts to (…,).

    >>> float(total_variation(np.array([50, 50]), np.array([60, 40])).round(3))
    0.1
    """
    found: Array = np.abs(shares(one) - shares(other)).sum(axis=-1) / 2
    return found


def wasserstein(one: Array, other: Array, places: Array) -> Array:
    """The mean way between two distributions over the same rising ``places`` (cells,); counts (…, cells) to (…,).

    >>> float(wasserstein(np.array([1, 0]), np.array([0, 1]), np.array([0.0, 3.0])))
    3.0
    """
    apart = np.abs(np.cumsum(shares(one) - shares(other), axis=-1)[..., :-1])
    found: Array = (apart * np.diff(places)).sum(axis=-1)
    return found


def kolmogorov(one: Array, other: Array) -> Array:
    """The largest difference of the cumulated shares, in [0, 1]; (…, cells) counts to (…,)."""
    found: Array = np.abs(np.cumsum(shares(one) - shares(other), axis=-1)).max(axis=-1)
    return found


def shares(counts: Array) -> Array:
    """Counts (…, cells) as shares that add up to one; zeros of nothing."""
    totals = counts.sum(axis=-1, keepdims=True)
    found: Array = counts / np.maximum(totals, 1)
    return found


def _moved(reference: NumericSummary, window: NumericSummary) -> float:
    """The Wasserstein distance, cells lying where their own values do: the outermost have no other place."""
    one, other = reference.counts > 0, window.counts > 0
    return distances.wasserstein(
        reference.centres[one], window.centres[other], reference.counts[one], window.counts[other]
    )
