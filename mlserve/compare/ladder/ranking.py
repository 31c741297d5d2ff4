"""Whether rows are ranked as before, and how well: the rung for scores that order the results of a query.

Rows of a group may come in several pairs, so what is kept are rows; figures are made of whole groups.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from mlserve.compare.kinds import kind_of
from mlserve.compare.labels import deciding_output
from mlserve.compare.ladder.scores import scores_of
from mlserve.compare.ladder.truth import known, numeric_labels_of, row_weights, unmasked
from mlserve.compare.pairs import Pairs, State
from mlserve.compare.rank_agreement import kendall_tau_b, rank_biased_overlap
from mlserve.compare.ranking import ndcg, reciprocal_rank
from mlserve.errors import Unsupported
from mlserve.stats.group_sampling import MAX_GROUP_ROWS, MAX_ROWS, GroupSample
from mlserve.stats.hashing import value_keys
from mlserve.stats.intervals import PairedMeans

Array = np.ndarray[Any, np.dtype[Any]]


class Ranking:
    """NDCG@k, MRR, Kendall's τ-b and RBO (p = 0.9), means over groups that have two rows and more.

    A group is a request, or the rows of one value of ``groups`` in whatever requests. Rows are ranked where the output
    that decides is one float a row, and where ``groups`` are given also by one or two columns of the first float output
    (``scores_of``).

    Where any row has a label that is a number of 0 and more, gains are the labels, and only labelled rows count towards
    NDCG and MRR, for which a label above 0 is relevant. Without labels the baseline's score is the gain, less the
    lowest of its group, and its best row is the relevant one: what is measured is then how much of the baseline's
    ranking is kept, and the baseline has 1 (its MRR less where best rows tie). τ-b and RBO compare both rankings, over
    all rows. A group is left out of a figure that it has no value for: nothing relevant, or all scores alike.

    Exact up to ``max_rows`` rows, beyond that of a sample of whole groups; groups of more than ``max_group_rows`` rows
    are left out (``GroupSample``). Both are counted. A request of a single row has no ranking and is not kept, unless
    it goes on from another.
    """

    def __init__(self, k: int = 10, max_rows: int = MAX_ROWS, max_group_rows: int = MAX_GROUP_ROWS) -> None:
        self.k = k
        # Score of the baseline, of the other, label or NaN, weight.
        self._rows = GroupSample(4, max_rows, max_group_rows)

    def add(self, pairs: Pairs) -> None:
        scores = scores_of(pairs)
        if scores is None or scores.what == "top score":
            return
        if pairs.groups is None and not _decides_by_score(pairs):
            return
        keys, ranked = _groups(pairs)
        if not ranked.any():
            return
        labels, labelled = numeric_labels_of(pairs)
        gains = np.where(labelled & (labels >= 0), labels, np.nan)
        values = np.stack([scores.expected, scores.actual, gains, row_weights(pairs)], axis=1)
        self._rows.add(keys[ranked], values[ranked])

    def merge(self, other: Self) -> None:
        self._rows.merge(other._rows)

    def figures(self) -> dict[str, Any]:
        """``ranking`` and its numbers in ``metrics``; None and nothing where no group could be ranked.

        ``ndcg`` and ``mrr`` have ``before``, ``after``, ``difference`` and its 95 % ``interval`` (Student's t over the
        differences of groups, which are independent and bounded), ``kendall_tau_b`` and ``rbo`` a mean and an interval.
        """
        group, rows = self._rows.rows()
        sizes = np.bincount(group) if len(group) else np.zeros(0, np.int64)
        group, rows = _renumbered(group, rows, sizes[group] > 1 if len(group) else np.zeros(0, bool))
        if not len(group):
            return {"ranking": None, "metrics": {}}
        expected, actual, labels, weights = rows.T
        of_group = np.bincount(group, weights=weights) / np.bincount(group)
        is_labelled = bool(np.isfinite(labels).any())
        ndcgs, ranks = self._by_labels(group, rows) if is_labelled else self._by_baseline(group, rows)
        alike = {
            "kendall_tau_b": kendall_tau_b(expected, actual, group),
            "rbo": rank_biased_overlap(expected, actual, group),
        }
        quality = {"ndcg": ndcgs, "mrr": ranks}
        figures: dict[str, Any] = {
            "k": self.k,
            "groups": int(group[-1]) + 1,
            "rows": len(group),
            "gain": "labels" if is_labelled else "baseline",
            **{name: _paired(sides) for name, sides in quality.items()},
            **{name: _mean(values, of_group) for name, values in alike.items()},
            "left_out": {"rows": self._rows.left_out, "groups_too_large": self._rows.too_large},
        }
        metrics: dict[str, float] = {}
        for name, flat in (("ndcg", f"ndcg@{self.k}"), ("mrr", "mrr")):
            if figures[name] is not None:
                metrics[flat], metrics[f"{flat}_before"] = figures[name]["after"], figures[name]["before"]
                metrics[f"{flat}_drop"] = -figures[name]["difference"]
        metrics |= {name: figures[name]["mean"] for name in alike if figures[name] is not None}
        return {"ranking": figures, "metrics": metrics}

    def state(self) -> State:
        return {"k": self.k, "rows": self._rows.state()}

    @classmethod
    def from_state(cls, state: State) -> Self:
        rung = cls(state["k"])
        rung._rows = GroupSample.from_state(state["rows"])
        return rung

    def _by_labels(self, group: Array, rows: Array) -> tuple[Array, Array]:
        """(3, groups) NDCG before, after and weight of each group; the same of its reciprocal rank."""
        labelled = np.isfinite(rows[:, 2])
        group, rows = _renumbered(group[labelled], rows[labelled])
        enough = np.bincount(group)[group] > 1
        group, rows = _renumbered(group[enough], rows[enough])
        return self._measured(group, rows, rows[:, 2], rows[:, 2] > 0)

    def _by_baseline(self, group: Array, rows: Array) -> tuple[Array, Array]:
        scores = np.where(np.isfinite(rows[:, 0]), rows[:, 0], np.nan)
        lowest, highest = np.full((2, int(group[-1]) + 1), np.nan)
        np.fmin.at(lowest, group, scores)
        np.fmax.at(highest, group, scores)
        gains = np.nan_to_num(scores - lowest[group], nan=0.0)
        return self._measured(group, rows, gains, (scores == highest[group]) & (gains > 0))

    def _measured(self, group: Array, rows: Array, gains: Array, is_relevant: Array) -> tuple[Array, Array]:
        weights = np.bincount(group, weights=rows[:, 3]) / np.bincount(group)
        before, after = rows[:, 0], rows[:, 1]
        return (
            np.stack([*(ndcg(scores, gains, group, self.k) for scores in (before, after)), weights]),
            np.stack([*(reciprocal_rank(scores, is_relevant, group) for scores in (before, after)), weights]),
        )


def _decides_by_score(pairs: Pairs) -> bool:
    """Whether the output that decides is one float a row."""
    try:
        output = pairs.expected[deciding_output(pairs.expected)]
    except Unsupported:
        return False
    return kind_of(output.dtype) == "float" and output.size == pairs.rows


def _groups(pairs: Pairs) -> tuple[Array, Array]:
    """(rows,) keys of the rows' groups, and which rows are in one that may be ranked."""
    if pairs.groups is not None:
        is_known = known(pairs.groups, pairs.rows)
        return value_keys(unmasked(pairs.groups).reshape(pairs.rows)), is_known
    counts = np.asarray(pairs.rows_each, np.int64)
    is_ranked = counts > 1
    if pairs.first_rows is not None:
        is_ranked = is_ranked | (np.asarray(pairs.first_rows) > 0)
    if not is_ranked.any():
        return np.zeros(pairs.rows, np.uint64), np.zeros(pairs.rows, bool)
    return np.repeat(pairs.request_keys, counts), np.repeat(is_ranked, counts)


def _renumbered(group: Array, rows: Array, chosen: Array | None = None) -> tuple[Array, Array]:
    """The ``chosen`` rows, and their groups numbered from 0 without a gap."""
    if chosen is not None:
        group, rows = group[chosen], rows[chosen]
    return np.cumsum(np.concatenate([[0], np.diff(group) != 0]))[: len(group)], rows


def _paired(sides: Array) -> dict[str, Any] | None:
    before, after, weights = sides[:, np.isfinite(sides).all(axis=0)]
    means = PairedMeans()
    means.add(before, after, weights)
    if not means.rows:
        return None
    interval = means.interval()
    return {
        "before": means.before,
        "after": means.after,
        "difference": means.difference,
        "interval": None if interval is None else list(interval),
        "groups": means.rows,
    }


def _mean(values: Array, weights: Array) -> dict[str, Any] | None:
    found = _paired(np.stack([np.zeros(len(values)), values, weights]))
    return found and {"mean": found["after"], "interval": found["interval"], "groups": found["groups"]}
