"""How good either version is where the truth is known: the rung for labels."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Any, Self

import numpy as np

from mlserve.compare.kinds import as_comparable, is_alike, kind_of
from mlserve.compare.labels import deciding_output
from mlserve.compare.ladder.labelled import Labelled
from mlserve.compare.ladder.scores import score_output
from mlserve.compare.ladder.truth import labels_of, row_weights
from mlserve.compare.pairs import Pairs, State
from mlserve.compare.roc import Side, paired_auc
from mlserve.errors import Unsupported
from mlserve.stats.intervals import Interval
from mlserve.stats.sampling import CAP, BottomK

Array = np.ndarray[Any, np.dtype[Any]]

_Measured = tuple[str, float, float, Interval | None, int]
_HIGHER = {"accuracy", "auc"}


class Quality:
    """Accuracy, AUC, log loss, Brier score, calibration, RMSE and MAE before and after, as far as they apply.

    accuracy                 a label output of one value a row, of the labels' kind; else scores of classes (below)
    auc                      one or two scores a row, labels all 0 and 1 and both there
    log_loss, brier, ece     scores that are probabilities: from 0 to 1, those of a row adding up to 1, and labels that
                             are classes: numbers of columns, or 0 and 1
    rmse, mae                one score a row, no label output, labels of more than 0 and 1

    Scores are the baseline's first float output. A row that has no finite scores on one side counts as wrong for
    accuracy, and is left out elsewhere and counted. Requests may ask for different outputs; the figures are of those
    outputs that most rows have. All but AUC are exact (``Labelled``).
    """

    def __init__(self, cap: int = CAP) -> None:
        self.cap = cap
        self._unknown = 0
        self._labelled: dict[tuple[str, str, int], Labelled] = {}

    def add(self, pairs: Pairs) -> None:
        if pairs.labels is None:
            self._unknown += pairs.rows
            return
        labels, known = labels_of(pairs)
        self._unknown += int((~known).sum())
        if not known.any():
            return
        decided, scored = _decided_by(pairs), _scored_by(pairs)
        width = pairs.expected[scored].size // pairs.rows if scored else 0
        labelled = self._labelled.setdefault((decided, scored, width), Labelled(width, self.cap))
        labelled.rows += int(known.sum())
        weights, truth = row_weights(pairs)[known], labels[known]
        is_text = truth.dtype.kind not in "biuf"
        if decided and is_text == (kind_of(pairs.expected[decided].dtype) == "text"):
            right = [
                as_comparable(side[decided]).reshape(pairs.rows)[known] == truth
                for side in (pairs.expected, pairs.actual)
            ]
            labelled.add_decisions(np.asarray(right[0], bool), np.asarray(right[1], bool), weights)
        if scored and is_text:
            labelled.counts["not_numbers"] += len(truth)
        elif scored:
            keys = pairs.row_keys[known]
            before, after = (
                side[scored].reshape(pairs.rows, width)[known].astype(np.float64)
                for side in (pairs.expected, pairs.actual)
            )
            labelled.add_scores(before, after, truth.astype(np.float64), keys, weights)

    def merge(self, other: Self) -> None:
        self._unknown += other._unknown
        for key, labelled in other._labelled.items():
            self._labelled.setdefault(key, Labelled(labelled.width, self.cap)).merge(labelled)

    def figures(self) -> dict[str, Any]:
        """``quality``, a list; ``calibration`` or None; ``labels``, what was known; and numbers in ``metrics``.

        A ``difference`` is after - before with its 95 % ``interval`` over paired rows; ``NAME_drop`` of ``metrics`` is
        by how much after is worse, whichever direction that is.
        """
        known = sum(labelled.rows for labelled in self._labelled.values())
        labels: dict[str, Any] = {"known": known, "unknown": self._unknown}
        if not self._labelled:
            return {"quality": [], "calibration": None, "labels": labels, "metrics": {}}
        key = max(self._labelled, key=lambda one: (self._labelled[one].rows, one))
        labelled = self._labelled[key]
        labels["not_finite"] = {side: labelled.counts[f"not_finite_{side}"] for side in ("before", "after")}
        entries: list[dict[str, Any]] = []
        metrics: dict[str, float] = {}
        for name, before, after, interval, rows in _measured(labelled, has_label_output=bool(key[0])):
            is_higher_better = name in _HIGHER
            entries.append(
                {
                    "metric": name,
                    "before": before,
                    "after": after,
                    "difference": after - before,
                    "interval": None if interval is None else list(interval),
                    "rows": rows,
                    "higher_is_better": is_higher_better,
                }
            )
            drop = before - after if is_higher_better else after - before
            metrics |= {name: after, f"{name}_before": before, f"{name}_drop": drop}
        calibration = labelled.calibration.bins() if "ece" in metrics else None
        return {"quality": entries, "calibration": calibration, "labels": labels, "metrics": metrics}

    def state(self) -> State:
        return {
            "cap": self.cap,
            "unknown": self._unknown,
            "labelled": [
                {"decided": decided, "scored": scored, "sums": labelled.state()}
                for (decided, scored, _), labelled in self._labelled.items()
            ],
        }

    @classmethod
    def from_state(cls, state: State) -> Self:
        rung = cls(state["cap"])
        rung._unknown = state["unknown"]
        for one in state["labelled"]:
            labelled = Labelled.from_state(one["sums"])
            rung._labelled[one["decided"], one["scored"], labelled.width] = labelled
        return rung


def _decided_by(pairs: Pairs) -> str:
    """The output that is a label a row on both sides; empty where there is none."""
    try:
        name = deciding_output(pairs.expected)
    except Unsupported:
        return ""
    output = pairs.expected[name]
    is_label = kind_of(output.dtype) in ("integer", "text") and output.size == pairs.rows
    return name if is_label and name in pairs.actual and is_alike(output, pairs.actual[name]) else ""


def _scored_by(pairs: Pairs) -> str:
    """The output of scores that both sides have; empty where there is none."""
    name = score_output(pairs.expected, pairs.rows)
    return name if name and name in pairs.actual and is_alike(pairs.expected[name], pairs.actual[name]) else ""


def _measured(labelled: Labelled, *, has_label_output: bool) -> Iterator[_Measured]:
    """Name, before, after, interval and rows of each metric that applies."""
    counts, means = labelled.counts, labelled.means
    are_classes = labelled.width > 0 and not counts["not_classes"] and not counts["not_numbers"]
    are_probabilities = are_classes and not counts["not_probabilities"]
    decisions = means["decided"]
    if not decisions.rows and are_classes and (labelled.width > 1 or are_probabilities):
        decisions = means["score_decided"]
    if decisions.rows:
        yield "accuracy", decisions.before, decisions.after, decisions.share_interval(), decisions.rows
    if labelled.width <= 2 and not counts["not_binary"] and labelled.positives.seen and labelled.negatives.seen:
        positives, negatives = _side(labelled.positives), _side(labelled.negatives)
        auc = paired_auc(positives, negatives)
        yield "auc", auc.before, auc.after, auc.interval, len(positives.weights) + len(negatives.weights)
    if are_probabilities and means["log_loss"].rows:
        for name in ("log_loss", "brier"):
            yield name, means[name].before, means[name].after, means[name].interval(), means[name].rows
        calibration = labelled.calibration
        yield "ece", *calibration.errors, calibration.interval(), calibration.rows
    if labelled.width == 1 and not has_label_output and counts["not_binary"] and means["squared"].rows:
        squared, absolute = means["squared"], means["absolute"]
        yield "rmse", sqrt(squared.before), sqrt(squared.after), squared.root_interval(), squared.rows
        yield "mae", absolute.before, absolute.after, absolute.interval(), absolute.rows


def _side(sample: BottomK) -> Side:
    rows = sample.rows()
    return Side(rows.values[:, 0], rows.values[:, 1], rows.weights)
