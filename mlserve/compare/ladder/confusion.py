"""Which label became which: counts of pairs of labels, bounded whatever the labels are."""

from __future__ import annotations

from collections import Counter
from typing import Any, Self

import numpy as np

from mlserve.compare.pairs import State

Array = np.ndarray[Any, np.dtype[Any]]

SHOWN_LABELS = 20
MAX_PAIRS = 16_384
_TABLE = 64

OTHER = "other"


class Confusion:
    """Counts of (baseline's label, candidate's label).

    Exact, in any order of merging, up to ``MAX_PAIRS`` different pairs; beyond, the rarest half is let go into
    ``other`` each time, so that a rare pair that comes late may be counted too low, and the frequent ones stay right.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[Any, Any]] = Counter()
        self._let_go = 0

    def add(self, wanted: Array, given: Array) -> None:
        """Count two arrays of one shape: integers, booleans or text."""
        w, g = wanted.reshape(-1), given.reshape(-1)
        if not w.size:
            return
        if w.dtype.kind in "iub" and g.dtype.kind in "iub":
            self._add_integers(w, g)
        elif w is g or wanted is given:
            self._counts.update({(label, label): count for label, count in Counter(_labels(w)).items()})
        else:
            self._counts.update(zip(_labels(w), _labels(g), strict=True))
        self._bound()

    def merge(self, other: Self) -> None:
        self._counts.update(other._counts)
        self._let_go += other._let_go
        self._bound()

    def figures(self) -> dict[str, Any]:
        """``labels`` (the most frequent by either side, in order, and ``other`` where there are more) and ``counts``,
        a row for each label of the baseline, a column for each of the candidate."""
        frequent: Counter[Any] = Counter()
        for (wanted, given), count in self._counts.items():
            frequent[wanted] += count
            frequent[given] += count
        ranked = sorted(frequent, key=lambda label: (-frequent[label], str(label)))
        shown = sorted(ranked[:SHOWN_LABELS], key=lambda label: (isinstance(label, str), label))
        place = {label: at for at, label in enumerate(shown)}
        has_other = len(ranked) > len(shown) or self._let_go > 0
        size = len(shown) + has_other
        counts = [[0] * size for _ in range(size)]
        for (wanted, given), count in self._counts.items():
            counts[place.get(wanted, size - 1)][place.get(given, size - 1)] += count
        if has_other:
            counts[-1][-1] += self._let_go
        return {"labels": [*shown, *([OTHER] if has_other else [])], "counts": counts}

    def state(self) -> State:
        return {"pairs": [[*pair, count] for pair, count in self._counts.items()], "let_go": self._let_go}

    @classmethod
    def from_state(cls, state: State) -> Self:
        self = cls()
        self._counts = Counter({(wanted, given): count for wanted, given, count in state["pairs"]})
        self._let_go = state["let_go"]
        return self

    def _add_integers(self, wanted: Array, given: Array) -> None:
        low = min(int(wanted.min()), int(given.min()))
        high = max(int(wanted.max()), int(given.max()))
        width = high - low + 1
        if width > _TABLE:
            self._counts.update(zip(wanted.tolist(), given.tolist(), strict=True))
            return
        # Unsigned 64-bit and signed ones have no common integer type; both are small once ``low`` is taken off.
        codes = _from(wanted, low) * width + _from(given, low)
        table = np.bincount(codes, minlength=width * width)
        is_bool = wanted.dtype.kind == "b"
        for code in np.flatnonzero(table).tolist():
            pair = (code // width + low, code % width + low)
            self._counts[(bool(pair[0]), bool(pair[1])) if is_bool else pair] += int(table[code])

    def _bound(self) -> None:
        if len(self._counts) <= MAX_PAIRS:
            return
        kept = dict(sorted(self._counts.items(), key=lambda item: (-item[1], str(item[0])))[: MAX_PAIRS // 2])
        self._let_go += sum(self._counts.values()) - sum(kept.values())
        self._counts = Counter(kept)


def _labels(values: Array) -> list[Any]:
    return [value if isinstance(value, (str, int, bool)) else str(value) for value in values.tolist()]


def _from(values: Array, low: int) -> Array:
    if values.dtype.kind == "u" and low >= 0:
        return np.asarray(values - values.dtype.type(low), np.int64)
    return np.asarray(values.astype(np.int64) - low)
