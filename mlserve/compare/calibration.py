"""Whether probabilities come true: reliability bins and expected calibration error, of two answers to the same rows."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from mlserve.stats.intervals import Interval, around

Array = np.ndarray[Any, np.dtype[Any]]

BINS = 10
"""Of equal width, each without its lower bound, as scikit-learn's ``calibration_curve`` has them."""

_SUMS = 12  # rows, w, wp, wp', wy, wy', w², w²e, w²e', w²e², w²e'², w²ee'  with e = y - p


class Calibration:
    """Sums of predicted and observed, by the bin before and the bin after; adding and merging are exact.

    The expected calibration error is sum |sum of (observed - predicted) over a bin| ÷ rows (Naeini and others, 2015).
    With the signs of its bins it is a mean over rows, so the difference of two has a variance: the delta method's,
    which is too wide where bins are within noise of perfect.
    """

    def __init__(self) -> None:
        self._cells: Array = np.zeros((BINS, BINS, _SUMS))

    def add(self, before: tuple[Array, Array], after: tuple[Array, Array], weights: Array) -> None:
        """Add rows: (predicted, observed) of each side, (rows,) float64 from 0 to 1; ``weights`` above 0."""
        (p, y), (q, z) = before, after
        cell = _bin(p) * BINS + _bin(q)
        e, f, squares = y - p, z - q, weights**2
        terms = [
            *(np.ones(len(p)), weights, weights * p, weights * q, weights * y, weights * z),
            *(squares, squares * e, squares * f, squares * e**2, squares * f**2, squares * e * f),
        ]
        sums = [np.bincount(cell, weights=term, minlength=BINS * BINS) for term in terms]
        self._cells = self._cells + np.stack(sums, axis=1).reshape(BINS, BINS, _SUMS)

    def merge(self, other: Self) -> None:
        self._cells = self._cells + other._cells

    @property
    def rows(self) -> int:
        return int(self._cells[..., 0].sum())

    @property
    def errors(self) -> tuple[float, float]:
        """The expected calibration errors before and after. There is a row at least."""
        return tuple(float(np.abs(gaps).sum() / self._cells[..., 1].sum()) for gaps in self._gaps())  # type: ignore[return-value]  # of two

    def interval(self) -> Interval | None:
        """The 95 % interval of the error after less that before; None of fewer than two rows."""
        if self.rows < 2:
            return None
        before, after = (np.sign(gaps) for gaps in self._gaps())
        s, t = before[:, np.newaxis], after[np.newaxis, :]
        of_one, e, f, ee, ff, ef = np.moveaxis(self._cells[..., 6:], -1, 0)
        difference = self.errors[1] - self.errors[0]
        second = (t**2 * ff + s**2 * ee - 2 * s * t * ef).sum()
        first = (t * f - s * e).sum()
        spread = second - 2 * difference * first + difference**2 * of_one.sum()
        variance = spread / self._cells[..., 1].sum() ** 2 * self.rows / (self.rows - 1)
        return around(difference, float(variance), self.rows)

    def bins(self) -> dict[str, list[dict[str, float]]]:
        """``before`` and ``after``: of each bin with rows the mean ``predicted`` and ``observed``, and the ``rows``."""
        found = {}
        for side, axis, predicted in (("before", 1, 2), ("after", 0, 3)):
            sums = self._cells.sum(axis=axis)
            found[side] = [
                {
                    "predicted": float(one[predicted] / one[1]),
                    "observed": float(one[predicted + 2] / one[1]),
                    "rows": int(one[0]),
                }
                for one in sums[sums[:, 0] > 0]
            ]
        return found

    def state(self) -> dict[str, Any]:
        return {"cells": self._cells}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        found = cls()
        found._cells = np.asarray(state["cells"])
        return found

    def _gaps(self) -> tuple[Array, Array]:
        """(bins,) sums of observed less predicted, before and after."""
        before, after = self._cells.sum(axis=1), self._cells.sum(axis=0)
        return before[:, 4] - before[:, 2], after[:, 5] - after[:, 3]


def _bin(probabilities: Array) -> Array:
    return np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], probabilities)
