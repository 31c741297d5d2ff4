"""Which inputs lie behind the differences: what sets rows that differ apart from rows that don't, by a sample of both.

Rows that differ are few, so that three strata are sampled each by itself: decided otherwise; otherwise out of
tolerance; neither. A sampled row stands for its stratum's rows ÷ sampled rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from mlserve.compare.ladder.features import Features, features_of, stacked
from mlserve.compare.ladder.judging import Judged, Limits, judge
from mlserve.compare.ladder.rules import try_rules
from mlserve.compare.ladder.slices import slices
from mlserve.compare.pairs import Outputs, Pairs, State

Array = np.ndarray[Any, np.dtype[Any]]

SAMPLE_ROWS = 2048
_STRATA = 3
_ALL = np.uint64(2**64 - 1)


@dataclass(frozen=True, slots=True)
class _Part:
    """Sampled rows: their keys (uint64), request weights, whether out of tolerance, and features."""

    keys: Array
    weights: Array
    over: Array
    features: Features

    def take(self, rows: Array) -> _Part:
        return _Part(self.keys[rows], self.weights[rows], self.over[rows], self.features.take(rows))


class _Stratum:
    """The ``SAMPLE_ROWS`` rows of lowest key, and how much all rows weigh. Merging is exact."""

    def __init__(self) -> None:
        self.weight = 0.0
        self._limit = _ALL
        self._parts: list[_Part] = []

    def add(self, inputs: Outputs, keys: Array, weights: Array, over: Array, rows: Array) -> None:
        """Rows ``rows`` (indexes) of ``inputs``; the other arrays are over all rows of ``inputs``."""
        self.weight += float(weights[rows].sum())
        low = rows[keys[rows] <= self._limit]
        if len(low) > SAMPLE_ROWS:
            low = low[np.argpartition(keys[low], SAMPLE_ROWS - 1)[:SAMPLE_ROWS]]
        if low.size:
            features = features_of(inputs, low, len(keys))
            self._parts.append(_Part(keys[low], weights[low], over[low], features))
            self._bound()

    def merge(self, other: _Stratum) -> None:
        self.weight += other.weight
        self._parts.extend(other._parts)
        self._bound()

    def sample(self) -> _Part | None:
        """Its rows in the order of their keys."""
        if not self._parts:
            return None
        parts = self._parts
        keys = np.concatenate([part.keys for part in parts])
        whole = _Part(
            keys,
            np.concatenate([part.weights for part in parts]),
            np.concatenate([part.over for part in parts]),
            stacked([part.features for part in parts]),
        )
        return whole.take(np.argsort(keys, kind="stable")[:SAMPLE_ROWS])

    def state(self) -> State:
        part = self.sample()
        if part is None:
            return {"weight": self.weight, "part": None}
        kept = {"keys": part.keys, "weights": part.weights, "over": part.over, "features": part.features.state()}
        return {"weight": self.weight, "part": kept}

    @classmethod
    def from_state(cls, state: State) -> _Stratum:
        self = cls()
        self.weight, part = state["weight"], state["part"]
        if part is not None:
            features = Features.from_state(part["features"])
            self._parts = [_Part(part["keys"], part["weights"], part["over"], features)]
            self._bound()
        return self

    def _bound(self) -> None:
        if sum(len(part.keys) for part in self._parts) < 2 * SAMPLE_ROWS and len(self._parts) < 64:
            return
        part = self.sample()
        if part is not None:
            self._parts = [part]
            if len(part.keys) == SAMPLE_ROWS:
                self._limit = part.keys[-1]


class Explaining:
    """The sample, and rules and slices of it. A row differs if it is decided otherwise, or where nothing is decided if
    it is out of tolerance."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._strata = [_Stratum() for _ in range(_STRATA)]

    def add(self, pairs: Pairs) -> None:
        self.learn(judge(pairs, self._limits))

    def learn(self, judged: Judged) -> None:
        """``add`` of what is judged already."""
        weights = judged.row_weights
        weights = np.ones(judged.rows) if weights is None else weights
        over = ~judged.within
        stratum = np.where(judged.changed, 0, np.where(over, 1, 2))
        for at, kept in enumerate(self._strata):
            rows = np.flatnonzero(stratum == at)
            if rows.size:
                kept.add(judged.pairs.inputs, judged.pairs.row_keys, weights, over, rows)

    def merge(self, other: Self) -> None:
        for mine, theirs in zip(self._strata, other._strata, strict=True):
            mine.merge(theirs)

    def figures(self, *, is_decided: bool = True) -> dict[str, Any] | None:
        """``rules``, ``slices``, ``sampled`` rows, and a ``note`` where there is less than might be; None of no rows.

        Counts and shares are estimates for all rows, and where requests have weights for all that they stand for.
        """
        samples = [(stratum, stratum.sample()) for stratum in self._strata]
        parts = [(stratum, part) for stratum, part in samples if part is not None]
        if not parts:
            return None
        weights = np.concatenate([part.weights * (stratum.weight / part.weights.sum()) for stratum, part in parts])
        changed = np.concatenate([np.full(len(part.keys), stratum is self._strata[0]) for stratum, part in parts])
        over = np.concatenate([part.over for _, part in parts])
        differs = changed if is_decided else over
        found: dict[str, Any] = {"rules": [], "slices": [], "sampled": len(differs)}
        if not differs.any():
            return {**found, "note": "no row differs"}
        if differs.all():
            return {**found, "note": "every row differs, whatever its inputs"}
        features = stacked([part.features for _, part in parts])
        found["rules"], note = try_rules(features, differs, weights)
        found["slices"] = slices(features, differs, weights)
        return found if note is None else {**found, "note": note}

    def state(self) -> State:
        return {"strata": [stratum.state() for stratum in self._strata]}

    @classmethod
    def from_state(cls, state: State, limits: Limits | None = None) -> Self:
        self = cls(limits)
        self._strata = [_Stratum.from_state(kept) for kept in state["strata"]]
        return self
