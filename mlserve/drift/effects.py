"""How different two summaries are, whatever the number of rows: the sizes that a feature must reach to alert.

    numeric      wasserstein_sd     the mean way that values moved, in standard deviations of the reference
    categorical  total_variation    the share of rows that would have to change their value

Of all rows, by the cells and categories that they were counted in; ``stats.effects`` has the same of samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from mlserve.drift.categorical import CategorySummary
from mlserve.drift.numeric import NumericSummary
from mlserve.rows.tables import Array
from mlserve.stats import distances
from mlserve.stats.effects import total_variation

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
        return total_variation(one, other)
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


def _moved(reference: NumericSummary, window: NumericSummary) -> float:
    """The Wasserstein distance, cells lying where their own values do: the outermost have no other place."""
    one, other = reference.counts > 0, window.counts > 0
    return distances.wasserstein(
        reference.centres[one], window.centres[other], reference.counts[one], window.counts[other]
    )
