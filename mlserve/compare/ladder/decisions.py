"""The second rung: whether both versions decide alike, what became what, how close it was, and the best k classes.

What decides, and where it does not, is the rule of ``compare/labels.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from mlserve.compare.kinds import as_comparable, is_alike, kind_of
from mlserve.compare.labels import Agreement
from mlserve.compare.ladder.confusion import Confusion
from mlserve.compare.ladder.judging import Decided, Judged, Limits, judge
from mlserve.compare.ladder.logcounts import LogCounts
from mlserve.compare.ladder.topk import kept_of_top, top_gap
from mlserve.compare.pairs import Pairs, State

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(slots=True)
class _TopK:
    """Over positions of more than k classes: how many, the classes of their top k that stayed, those with all."""

    positions: int = 0
    kept: int = 0
    same_set: int = 0

    def merge(self, other: _TopK) -> None:
        self.positions += other.positions
        self.kept += other.kept
        self.same_set += other.same_set


@dataclass(slots=True)
class _Tally:
    """What one output decided. ``weighted`` counts a position as often as its request stands for others."""

    positions: int = 0
    agree: int = 0
    missing: int = 0
    weighted_positions: float = 0.0
    weighted_agree: float = 0.0
    max_margin: float = 0.0
    undecidable: str | None = None
    confusion: Confusion = field(default_factory=Confusion)
    margins: LogCounts = field(default_factory=LogCounts)
    top: _TopK = field(default_factory=_TopK)

    def merge(self, other: _Tally) -> None:
        for name in ("positions", "agree", "missing", "weighted_positions", "weighted_agree"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.max_margin = max(self.max_margin, other.max_margin)
        self.undecidable = min(filter(None, (self.undecidable, other.undecidable)), default=None)
        self.confusion.merge(other.confusion)
        self.margins.merge(other.margins)
        self.top.merge(other.top)


_PLAIN = ("positions", "agree", "missing", "weighted_positions", "weighted_agree", "max_margin", "undecidable")


class Decisions:
    """Agreement and what is behind it. Merging is exact but for ``Confusion``'s bound and sums of weights."""

    def __init__(self, limits: Limits | None = None, *, top_k: int = 5) -> None:
        self._limits = limits or Limits()
        self._top_k = top_k
        self._outputs: dict[str, _Tally] = {}

    def add(self, pairs: Pairs) -> None:
        self.learn(judge(pairs, self._limits))

    def learn(self, judged: Judged) -> None:
        """``add`` of what is judged already."""
        decision = judged.decision
        if decision is None or not decision.wanted.size:
            return
        tally = self._outputs.setdefault(decision.output, _Tally())
        agree = int(np.count_nonzero(decision.same))
        tally.positions += decision.wanted.size
        tally.agree += agree
        self._weigh(tally, decision, judged, agree)
        if decision.undecidable:
            tally.undecidable = min(filter(None, (tally.undecidable, decision.undecidable)))
        if decision.given is None:
            tally.missing += decision.wanted.size
        else:
            tally.confusion.add(decision.wanted, decision.given)
        self._compare_scores(tally, decision, judged)

    def agreement(self) -> Agreement | None:
        """Positions decided alike; None where there are none, or where an output turned out to decide nothing."""
        if not self._outputs or any(tally.undecidable for tally in self._outputs.values()):
            return None
        total = Agreement()
        for tally in self._outputs.values():
            total = total.merge(Agreement(tally.agree, tally.positions))
        return total if total.total else None

    def figures(self) -> dict[str, Any] | None:
        """Counts over all rows, the rest of the output with most positions; None as ``agreement``.

        ``weighted_share`` is the share of the traffic that the rows stand for, where requests have weights; ``margin``
        is how far the baseline's best score was above its second where it was decided otherwise, p50 to 1/128 of
        itself; ``top_k`` (null for k classes or fewer) the mean share of the k best that stay, and the share of
        positions where all do.
        """
        found = self.agreement()
        if found is None:
            return None
        name = min(self._outputs, key=lambda output: (-self._outputs[output].positions, output))
        tally, top = self._outputs[name], self._outputs[name].top
        weighted = sum(t.weighted_positions for t in self._outputs.values())
        middle = tally.margins.quantile(0.5)
        return {
            "output": name,
            "positions": found.total,
            "agree": found.same,
            "missing": sum(t.missing for t in self._outputs.values()),
            "weighted_share": sum(t.weighted_agree for t in self._outputs.values()) / weighted if weighted else None,
            "confusion": tally.confusion.figures(),
            "margin": None if middle is None else {"disagreeing_p50": middle, "disagreeing_max": tally.max_margin},
            "top_k": None
            if not top.positions
            else {
                "k": self._top_k,
                "overlap": top.kept / (self._top_k * top.positions),
                "same_set": top.same_set / top.positions,
            },
        }

    def merge(self, other: Self) -> None:
        for name, tally in other._outputs.items():
            self._outputs.setdefault(name, _Tally()).merge(tally)

    def state(self) -> State:
        outputs = {
            name: {key: getattr(tally, key) for key in _PLAIN}
            | {"confusion": tally.confusion.state(), "margins": tally.margins.state(), "top": asdict(tally.top)}
            for name, tally in self._outputs.items()
        }
        return {"limits": asdict(self._limits), "top_k": self._top_k, "outputs": outputs}

    @classmethod
    def from_state(cls, state: State) -> Self:
        limits = state["limits"]
        precisions = tuple(limits["precisions"])
        self = cls(Limits(limits["atol"], limits["rtol"], precisions), top_k=state["top_k"])
        for name, kept in state["outputs"].items():
            self._outputs[name] = _Tally(
                **{key: kept[key] for key in _PLAIN},
                confusion=Confusion.from_state(kept["confusion"]),
                margins=LogCounts.from_state(kept["margins"]),
                top=_TopK(**kept["top"]),
            )
        return self

    def _weigh(self, tally: _Tally, decision: Decided, judged: Judged, agree: int) -> None:
        weights = judged.row_weights
        if weights is None or decision.wanted.shape[:1] != (judged.rows,):
            tally.weighted_positions += decision.wanted.size
            tally.weighted_agree += agree
            return
        same = decision.same.reshape(judged.rows, -1)
        tally.weighted_positions += float(weights.sum()) * same.shape[1]
        tally.weighted_agree += float(weights @ same.sum(axis=1))

    def _compare_scores(self, tally: _Tally, decision: Decided, judged: Judged) -> None:
        """Margins and top k, where there are scores: of the deciding output, or of one beside its labels."""
        name = _scores_of(decision, judged.pairs.expected)
        if name is None:
            return
        scores = np.asarray(judged.pairs.expected[name])
        flat = scores.reshape(decision.wanted.size, -1)
        other = ~decision.same.reshape(-1)
        if other.any():
            gaps = top_gap(as_comparable(flat[other]))
            gaps = gaps[np.isfinite(gaps)]
            tally.margins.add(gaps)
            tally.max_margin = max(tally.max_margin, float(gaps.max(initial=0.0)))
        if flat.shape[1] > self._top_k:
            self._compare_top(tally.top, flat, name, judged)

    def _compare_top(self, top: _TopK, flat: Array, name: str, judged: Judged) -> None:
        top.positions += len(flat)
        given = np.asarray(judged.pairs.actual.get(name))
        if not is_alike(np.asarray(judged.pairs.expected[name]), given):
            return
        output = next(output for output in judged.outputs if output.name == name)
        moved = np.repeat(~output.identical, len(flat) // max(1, judged.rows))
        top.kept += self._top_k * (len(flat) - int(moved.sum()))
        top.same_set += len(flat) - int(moved.sum())
        if moved.any():
            other = given.reshape(flat.shape)[moved]
            kept = kept_of_top(as_comparable(flat[moved]), as_comparable(other), self._top_k)
            top.kept += int(kept.sum())
            top.same_set += int(np.count_nonzero(kept == self._top_k))


def _scores_of(decision: Decided, outputs: Mapping[str, Array]) -> str | None:
    """The first float output with scores for each position of ``decision``."""
    deciding = np.asarray(outputs[decision.output])
    if kind_of(deciding.dtype) == "float":
        return decision.output if deciding.size else None
    shape = decision.wanted.shape
    # Labels come as (rows,) or (rows, 1); the scores beside them are (rows, classes).
    for name, output in outputs.items():
        values = np.asarray(output)
        if kind_of(values.dtype) != "float" or values.ndim < 2 or values.shape[-1] < 2:
            continue
        if values.shape[:-1] in (shape, shape[:-1] if shape[-1:] == (1,) else shape):
            return name
    return None
