"""Ranking within groups (the results of one query): normalised discounted cumulative gain, a value a group."""

from __future__ import annotations

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
    scores = np.where(np.isnan(scores), -np.inf, scores)
    _, group = np.unique(groups, return_inverse=True)
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    values = [_ndcg(scores[part], relevance[part], cutoff) for part in parts if len(part) > 1 and relevance[part].any()]
    if not values:
        raise InvalidInput("ndcg needs a group of two rows or more in which one is relevant")
    return np.array(values)


def _ndcg(scores: Array, relevance: Array, cutoff: int | None) -> float:
    return _gain(scores, relevance, cutoff) / _gain(relevance, relevance, cutoff)


def _gain(scores: Array, relevance: Array, cutoff: int | None) -> float:
    discounts = 1 / np.log2(np.arange(len(scores)) + 2)
    if cutoff is not None:
        discounts[cutoff:] = 0
    _, tied, sizes = np.unique(-scores, return_inverse=True, return_counts=True)
    mean_gains = np.bincount(tied, weights=relevance) / sizes
    return float((np.repeat(mean_gains, sizes) * discounts).sum())
