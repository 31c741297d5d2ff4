"""How alike two rankings of the same rows are, a value a group: Kendall's τ-b and rank-biased overlap.

As in ``ranking`` rows of all groups are one flat array; ``group`` numbers groups from 0, each with a row at least. A
NaN ranks last, and NaNs are as good as each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def kendall_tau_b(one: Array, other: Array, group: Array) -> Array:
    """Kendall's τ-b of each group, from -1 (reversed) to 1: (groups,), NaN where one side ranks nothing.

    Discordant pairs are inversions, counted bit by bit of the rank, over all groups at once: rows × log(largest group).
    Source: Kendall (1945), The treatment of ties in ranking problems; Knight (1966) for inversions.

    >>> kendall_tau_b(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4]), np.zeros(4, int)).round(4).tolist()
    [0.6667]
    """
    one, other = _dense(one, group), _dense(other, group)
    order = np.lexsort((other, one, group))
    one, other, group = one[order], other[order], group[order]
    groups = int(group[-1]) + 1 if len(group) else 0
    sizes = np.bincount(group, minlength=groups)
    all_pairs = _pairs(sizes)
    ties_one, ties_other = _tied_pairs(group, groups, one), _tied_pairs(group, groups, other)
    ties_both = _tied_pairs(group, groups, one, other)
    discordant = _inversions(other, group, sizes)
    concordant: Array = all_pairs - ties_one - ties_other + ties_both - discordant
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (concordant - discordant) / np.sqrt((all_pairs - ties_one) * (all_pairs - ties_other))
    return np.where((all_pairs > ties_one) & (all_pairs > ties_other), np.clip(found, -1, 1), np.nan)


def rank_biased_overlap(one: Array, other: Array, group: Array, p: float = 0.9) -> Array:
    """Extrapolated rank-biased overlap of each group, from 0 to 1 (ranked alike), the best scores first: (groups,).

    (1 - p)/p × Σ A(d) p^d + A(n) p^n over depths d = 1 … n of a group of n rows, A(d) being the share that the
    first d of both have in common. Rows of equal score have the best of their places, and A(d) = 2 |both| / (|one| +
    |other|) of the rows at d or better. With p = 0.9 the first ten places have 86 % of the weight.
    Source: Webber, Moffat and Zobel (2010), A similarity measure for indefinite rankings, equation 23 and section 4.

    >>> rank_biased_overlap(np.array([3.0, 2, 1]), np.array([2.0, 3, 1]), np.zeros(3, int)).round(4).tolist()
    [0.9]
    """
    groups = int(group.max()) + 1 if len(group) else 0
    sizes = np.bincount(group, minlength=groups)
    starts = np.cumsum(sizes) - sizes
    first, second = _best_places(one, group, starts), _best_places(other, group, starts)
    # A slot a group and depth, which lie as a group's rows would.
    slots = starts[group]
    of_slot = np.repeat(np.arange(groups), sizes)

    def reached(places: Array) -> Array:
        """How many rows of the group have this depth's place or a better one."""
        sums = np.cumsum(np.bincount(slots + places, minlength=len(group)))
        return np.asarray(sums - np.concatenate([[0], sums])[starts][of_slot])

    shared = 2 * reached(np.maximum(first, second)) / np.maximum(reached(first) + reached(second), 1)
    depth = np.arange(len(group)) - starts[of_slot] + 1
    sums = np.bincount(of_slot, weights=shared * p**depth, minlength=groups)
    # Both rank the same rows, so that at the end all are shared.
    return (1 - p) / p * sums + p**sizes


def _dense(scores: Array, group: Array) -> Array:
    """(rows,) integers in the order of ``scores`` within their group, alike where scores are, from 0 in each."""
    scores = np.where(np.isnan(scores), -np.inf, scores)
    order = np.lexsort((scores, group))
    scores, group = scores[order], group[order]
    is_new = np.zeros(len(group), np.int64)
    is_new[1:] = (scores[1:] != scores[:-1]) | (group[1:] != group[:-1])
    ranks = np.cumsum(is_new)
    sizes = np.bincount(group)
    ranks -= ranks[(np.cumsum(sizes) - sizes)[group]] if len(group) else 0
    found = np.empty(len(group), np.int64)
    found[order] = ranks
    return found


def _best_places(scores: Array, group: Array, starts: Array) -> Array:
    """The place of each row from the best score down, from 0; rows of equal score have the best of theirs."""
    scores = np.where(np.isnan(scores), -np.inf, scores)
    order = np.lexsort((-scores, group))
    ranked, of_group = scores[order], group[order]
    is_new = np.ones(len(group), bool)
    is_new[1:] = (ranked[1:] != ranked[:-1]) | (of_group[1:] != of_group[:-1])
    places = np.maximum.accumulate(np.where(is_new, np.arange(len(group)), 0)) - starts[of_group]
    found = np.empty(len(group), np.int64)
    found[order] = places
    return found


def _pairs(counts: Array) -> Array:
    return np.asarray(counts.astype(np.float64) * (counts - 1) / 2)


def _tied_pairs(group: Array, groups: int, *ranks: Array) -> Array:
    """(groups,) pairs of rows that are alike in all ``ranks``."""
    order = np.lexsort((*ranks, group))
    group = group[order]
    is_new = np.ones(len(group), bool)
    is_new[1:] = group[1:] != group[:-1]
    for rank in ranks:
        is_new[1:] |= rank[order][1:] != rank[order][:-1]
    counts = np.diff(np.append(np.flatnonzero(is_new), len(group)))
    return np.bincount(group[is_new], weights=_pairs(counts), minlength=groups)


def _inversions(ranks: Array, group: Array, sizes: Array) -> Array:
    """(groups,) pairs of which the earlier row has the greater rank; ``group`` ascends.

    From the highest bit down: rows are kept stably by the bits above, and where those are alike a row with this bit
    that stands before one without is an inversion, which no lower bit can undo.
    """
    found = np.zeros(len(sizes))
    if not len(ranks):
        return found
    ranks, block = ranks.copy(), group.copy()  # rows of a block are alike in group and higher bits
    for bit in range(int(ranks.max()).bit_length() - 1, -1, -1):
        one = (ranks >> bit) & 1
        ones = np.cumsum(one)
        is_start = np.ones(len(block), bool)
        is_start[1:] = block[1:] != block[:-1]
        start = np.maximum.accumulate(np.where(is_start, np.arange(len(block)), 0))
        ahead = ones - one - (ones - one)[start]
        zero = one == 0
        found += np.bincount(group[zero], weights=ahead[zero], minlength=len(sizes))
        # Groups stay where they are: a block's rows only move within it.
        order = np.argsort(block * 2 + one, kind="stable")
        block, ranks = (block * 2 + one)[order], ranks[order]
        block = np.cumsum(np.concatenate([[0], np.diff(block) != 0]))
    return found
