"""Evidence that a bounded mean has risen above a limit: bets on each row, which gain only where the mean is above.

values in [0, 1], limit ──► e_value            one stretch of rows, and with others: ``e_benjamini_hochberg``
                        ──► RisingState        a stream without end: alarms that recur, and when the rise began

While the mean of a row given all before is at most the limit, no bet gains in the mean; so P(e ≥ 1/α) ≤ α, and the
mean number of rows until ``RisingState`` reaches A is at least A, wherever one looks. Each row is bet on with several
stakes at once, since nobody knows how large the rise will be. Sources: Waudby-Smith & Ramdas, "Estimating means of
bounded random variables by betting" (2024); Shin, Ramdas & Rinaldo, "E-detectors" (2023).
"""

from __future__ import annotations

from math import log
from typing import Any

import msgspec
import numpy as np

from mlserve.errors import InvalidInput

Array = np.ndarray[Any, np.dtype[Any]]

STAKES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
"""The shares of the capital that are lost by a row of value 0; each stake has a sixth of it."""

_NOTHING = tuple(-700.0 for _ in STAKES)
"""ln of next to nothing: unlike that of 0, JSON has it."""
_NO_GAIN = tuple(0.0 for _ in STAKES)
_NOWHERE = tuple(0 for _ in STAKES)


class RisingState(msgspec.Struct, frozen=True):
    """What is remembered of ``rows`` values, in their order, that are bet to have a mean above ``limit``.

    All by stake: ``log_recurring`` is ln of the sum of what bets gained that began at each row (Shiryaev–Roberts),
    ``log_since`` what the best of them gained (CUSUM), and ``began`` the place where that one began.
    """

    limit: float
    rows: int = 0
    log_recurring: tuple[float, ...] = _NOTHING
    log_since: tuple[float, ...] = _NO_GAIN
    began: tuple[int, ...] = _NOWHERE

    @property
    def log_evidence(self) -> float:
        """ln of the mean over the stakes: an alarm at ln A has A rows to the next false one in the mean."""
        return float(np.logaddexp.reduce(self.log_recurring)) - log(len(STAKES))

    @property
    def since(self) -> int | None:
        """The place where the rise most likely began; None while there is no sign of one."""
        best = int(np.argmax(self.log_since))
        return self.began[best] if self.log_since[best] > 0 else None


def advance(state: RisingState, values: Array, places: Array) -> tuple[RisingState, Array]:
    """The state after ``values`` (rows,), in [0, 1], in the order they came; ln of the evidence after each, (rows,).

    ``places`` (rows,) are integers by which ``since`` tells rows, such as times. The same in one piece as in many.
    Raises InvalidInput for values outside [0, 1] or unequal lengths.
    """
    x = _checked(values)
    if len(x) != len(places):
        raise InvalidInput(f"{len(x)} values have {len(places)} places")
    if not len(x):
        return state, np.zeros(0)
    path = np.empty((len(STAKES), len(x)))
    recurring, since, began = [], [], []
    for at, bets in enumerate(_log_bets(x, state.limit)):
        gained = np.concatenate([[0.0], np.cumsum(bets)])
        # R_n = e^S_n (R_0 + Σ e^-S_j), and all of it in logarithms, since bets that go well leave every float behind.
        sums = np.logaddexp.accumulate(np.concatenate([[state.log_recurring[at]], -gained[:-1]]))
        path[at] = gained[1:] + sums[1:]
        start = max(state.log_since[at], 0.0) + gained
        lowest = min(0.0, float(start[:-1].min()))
        fresh = np.flatnonzero(start[:-1] <= lowest)
        recurring.append(float(path[at, -1]))
        since.append(float(start[-1] - lowest))
        began.append(int(places[fresh[-1]]) if len(fresh) else state.began[at])
    after = RisingState(state.limit, state.rows + len(x), tuple(recurring), tuple(since), tuple(began))
    return after, np.logaddexp.reduce(path, axis=0) - log(len(STAKES))


def acknowledged(state: RisingState) -> RisingState:
    """The state after an alarm was dealt with: evidence begins anew."""
    return RisingState(state.limit, state.rows)


def log_e_value(values: Array, limit: float) -> float:
    """ln of the evidence that the mean of ``values`` (rows,), in [0, 1], is above ``limit``; 0 of none.

    >>> round(log_e_value(np.tile([0.0, 1.0], 50), 0.3), 2)
    6.69
    """
    x = _checked(values)
    return float(np.logaddexp.reduce(_log_bets(x, limit).sum(axis=1))) - log(len(STAKES))


def e_benjamini_hochberg(log_e_values: Array, alpha: float) -> Array:
    """Which of the hypotheses are rejected so that the expected share of false ones is at most ``alpha``; (n,) bool.

    Holds whatever the dependence. Source: Wang & Ramdas, "False discovery rate control with e-values" (2022).

    >>> e_benjamini_hochberg(np.log([200.0, 30.0, 1.0]), 0.05).tolist()
    [True, True, False]
    """
    count = len(log_e_values)
    order = np.argsort(-np.asarray(log_e_values), kind="stable")
    enough = np.asarray(log_e_values)[order] >= np.log(count / (alpha * np.arange(1, count + 1)))
    rejected = np.zeros(count, bool)
    if enough.any():
        rejected[order[: int(np.flatnonzero(enough)[-1]) + 1]] = True
    return rejected


def _log_bets(values: Array, limit: float) -> Array:
    """(stakes, rows): ln of what each row's bet makes of 1."""
    if not limit > 0:
        raise InvalidInput(f"a limit of {limit} leaves nothing to bet against", hint="a limit above 0")
    bets: Array = np.log1p(np.asarray(STAKES)[:, None] / limit * (values[None, :] - limit))
    return bets


def _checked(values: Array) -> Array:
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or not ((x >= 0) & (x <= 1)).all():
        raise InvalidInput("a bounded mean takes one number from 0 to 1 a row")
    return x
