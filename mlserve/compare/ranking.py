"""Ranking within groups (the results of one query): how good it is, a value a group.

Rows of all groups are one flat array, and every step is over all of it: groups are many and small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlserve.errors import InvalidInput

Array = np.ndarray[Any, np.dtype[Any]]


def ndcg_by_group(scores: Array, relevance: Array, groups: Array, cutoff: int | None = None) -> Array:
    """The NDCG of each group that can be ranked at all, in the order of their ids.

    ``scores`` and ``relevance`` are (rows,), as is ``groups``, whose equal values are one group wherever they stand. A
    gain is the relevance itself, the discount of place p is log2(p + 1), rows of equal score share their places' gain,
    and places beyond ``cutoff`` count nothing. Left out are groups of one row, and those in which nothing is relevant.
    A NaN ranks last. Raises InvalidInput for relevance below 0 or where no group is left.

    Source: Järvelin and Kekäläinen (2002); ties as McSherry and Najork (2008), which is what scikit-learn does.

    >>> ndcg_by_group(np.array([0.9, 0.1]), np.array([0, 1]), np.array([7, 7])).round(4).tolist()
    [0.6309]
    """
    if (relevance < 0).any():
        raise InvalidInput("ndcg needs labels of 0 and more, which say how relevant a row is")
    _, group = np.unique(groups, return_inverse=True)
    values = ndcg(scores, relevance, group.ravel(), cutoff)
    values = values[(np.bincount(group.ravel()) > 1) & ~np.isnan(values)]
    if not len(values):
        raise InvalidInput("ndcg needs a group of two rows or more in which one is relevant")
    return np.asarray(values)


def ndcg(scores: Array, relevance: Array, group: Array, cutoff: int | None = None) -> Array:
    """As ``ndcg_by_group``, for groups numbered from 0: (groups,), NaN where nothing is relevant."""
    with np.errstate(invalid="ignore"):
        return _gain(scores, relevance, group, cutoff) / _gain(relevance, relevance, group, cutoff)


def reciprocal_rank(scores: Array, is_relevant: Array, group: Array) -> Array:
    """1 ÷ the place of the first relevant row of each group, numbered from 0: (groups,), NaN where none is relevant.

    Of rows with equal scores every order is as likely, and it is the mean over those. A NaN ranks last.
    Source: McSherry and Najork (2008), Computing information retrieval performance measures efficiently in the
    presence of tied scores.

    >>> reciprocal_rank(np.array([3.0, 2.0, 2.0]), np.array([False, True, False]), np.zeros(3, int)).round(4).tolist()
    [0.4167]
    """
    rows = _ranked(scores, group)
    relevant = is_relevant[rows.order]
    count = len(rows.sizes)
    of_tie = np.bincount(rows.tie, weights=relevant, minlength=1).astype(np.int64)
    # Ties are numbered from the best down, so that a group's first with a relevant row has the smallest number.
    first = np.full(count, len(of_tie))
    np.minimum.at(first, rows.group[relevant], rows.tie[relevant])
    inside = rows.tie == first[rows.group]
    tie, group_of = rows.tie[inside], rows.group[inside]
    size, hits = np.bincount(rows.tie)[tie], of_tie[tie]
    begins = np.searchsorted(rows.tie, tie)
    before = np.flatnonzero(inside) - begins
    chance = _first_hit(size, hits, before)
    found = np.bincount(group_of, weights=chance / (rows.place[inside] + 1), minlength=count)
    return np.where(first < len(of_tie), found, np.nan)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Rows by group, then from the best score down: ``place`` within the group from 0, equal scores one ``tie``."""

    order: Array
    group: Array
    place: Array
    tie: Array
    sizes: Array


def _ranked(scores: Array, group: Array) -> _Ranked:
    scores = np.where(np.isnan(scores), -np.inf, scores)
    order = np.lexsort((-scores, group))
    scores, group = scores[order], group[order]
    sizes = np.bincount(group)
    place = np.arange(len(group)) - (np.cumsum(sizes) - sizes)[group]
    is_new = np.ones(len(group), bool)
    is_new[1:] = (scores[1:] != scores[:-1]) | (group[1:] != group[:-1])
    return _Ranked(order, group, place, np.cumsum(is_new) - 1, sizes)


def _gain(scores: Array, relevance: Array, group: Array, cutoff: int | None) -> Array:
    rows = _ranked(scores, group)
    discounts = 1 / np.log2(rows.place + 2)
    if cutoff is not None:
        discounts[rows.place >= cutoff] = 0
    mean_gains = np.bincount(rows.tie, weights=relevance[rows.order]) / np.bincount(rows.tie)
    return np.bincount(rows.group, weights=mean_gains[rows.tie] * discounts)


def _first_hit(size: Array, hits: Array, before: Array) -> Array:
    """The chance that of ``size`` rows in any order, ``hits`` of them relevant, the first such has ``before`` ahead."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, size.max(initial=1) + 1)))])  # of factorials
    behind = size - before - 1
    left = np.maximum(behind - hits + 1, 0)
    chance = logs[behind] - logs[hits - 1] - logs[left] - (logs[size] - logs[hits] - logs[size - hits])
    return np.where(behind >= hits - 1, np.exp(chance), 0.0)
