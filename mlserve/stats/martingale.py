"""Evidence against "nothing has changed" that may be looked at after every row: the conformal test martingale.

    scores ──cells──► smoothed conformal p-values ──► bets ──► M (evidence of a life), R (recurring alarms)
                            ▲                                    │
      keyed hash of the request ids: U, the same in every replay └──► state: a value, kept between checks

While the rows stay exchangeable with the pool, P(M ever ≥ 1/α) ≤ α (Ville), and the mean number of rows until R reaches
A is at least A, wherever one looks. Sources: Vovk, Nouretdinov & Gammerman, "Testing exchangeability on-line" (2003);
Vovk et al., "Retrain or not retrain" (2021) for the simple jumper and for Shiryaev–Roberts.

Rows that are not exchangeable by nature (hours of the day, bursts of one user) are first made so: ``blocks``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any

import msgspec
import numpy as np

from mlserve.core.assignment import position_of
from mlserve.errors import InvalidInput

Array = np.ndarray[Any, np.dtype[Any]]

CELLS = 4096
JUMP = 0.01
"""The share of the capital that changes sides before each bet."""

_SIDES = (-1.0, 0.0, 1.0)
_CHUNK = 256


class MartingaleState(msgspec.Struct, frozen=True):
    """Where a martingale stands; equal states and equal rows give equal states.

    ``edges`` (cells − 1,) rise and cut the scores into cells; ``counts`` (cells,) are the rows of the pool in each,
    the reference's and all since. ``capitals`` are the shares of M that bet on small, on no and on large p-values;
    ``log_evidence`` is ln M, ``log_peak`` the highest it has been, ``log_recurring`` ln R since the last alarm was
    ``acknowledged``, None where no row came since.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    capitals: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3)
    log_evidence: float = 0.0
    log_peak: float = 0.0
    log_recurring: float | None = None
    rows: int = 0


class Path(msgspec.Struct, frozen=True):
    """What a stretch of rows did: ``p_values``, ``log_evidence`` and ``log_recurring`` after each, (rows,) each."""

    p_values: Array
    log_evidence: Array
    log_recurring: Array


def cells_of(scores: Array, cells: int = CELLS) -> tuple[float, ...]:
    """Edges that cut ``scores`` into at most ``cells`` cells of equal shares; a repeated value has a cell to itself.

    Cut them from other rows than the pool's: a cell that was fitted to the pool is not exchangeable with what follows.
    Raises InvalidInput for no scores or NaN.

    >>> cells_of(np.arange(8.0), 4)
    (2.0, 4.0, 6.0)
    """
    values = np.sort(_checked(scores))
    if not len(values):
        raise InvalidInput("there are no scores to cut cells from")
    places = (np.arange(1, cells) * len(values)) // cells
    chosen = values[places]
    # The next double makes the cell of a value that fills several of them its own.
    repeated = np.unique(chosen[1:][np.diff(chosen) == 0]) if len(chosen) > 1 else chosen[:0]
    edges = np.unique(np.concatenate([chosen, np.nextafter(repeated, np.inf)]))
    return tuple(edges[edges > values[0]].tolist())


def start(pool: Array, edges: Sequence[float]) -> MartingaleState:
    """Nothing bet yet; ``pool`` (rows,) are the scores of the reference, in any order. Raises InvalidInput for NaN."""
    places = np.searchsorted(np.asarray(edges), _checked(pool), side="right")
    return MartingaleState(tuple(edges), tuple(np.bincount(places, minlength=len(edges) + 1).tolist()))


def uniforms(keys: Sequence[str], salt: str) -> Array:
    """A number in [0, 1) for each key, the same on every machine: what breaks ties. (rows,) float64.

    >>> uniforms(["a", "b"], "fraud:7").round(4).tolist()
    [0.6964, 0.7115]
    """
    return np.array([position_of(key, salt) / 2**64 for key in keys], np.float64)


def advance(state: MartingaleState, scores: Array, ties: Array, jump: float = JUMP) -> tuple[MartingaleState, Path]:
    """The state after ``scores`` (rows,), in the order they came, and what each did.

    ``ties`` (rows,) are from ``uniforms``. About 2 µs a row. Raises InvalidInput for NaN or unequal lengths.
    """
    values = _checked(scores)
    if len(values) != len(ties):
        raise InvalidInput(f"{len(values)} scores have {len(ties)} numbers to break ties")
    p_values, counts = _conformal(state, values, np.asarray(ties, np.float64))
    low, none, high = state.capitals
    log_m, log_r, peak = state.log_evidence, state.log_recurring, state.log_peak
    evidence, recurring = np.empty(len(values)), np.empty(len(values))
    r = 0.0 if log_r is None else float(np.exp(min(log_r, 700.0)))
    stay, share = 1 - jump, jump / 3
    for i, p in enumerate(p_values.tolist()):
        # The capitals sum to 1, so what M gains by this row is their sum after the bet.
        bet = p - 0.5
        low, none, high = (stay * low + share) * (1 - bet), stay * none + share, (stay * high + share) * (1 + bet)
        gain = low + none + high
        low, none, high = low / gain, none / gain, high / gain
        log_gain = log(gain)
        log_m += log_gain
        peak = max(peak, log_m)
        # Beyond what a float holds, the 1 that is added each row no longer matters.
        if log_r is None or log_r < 690.0:
            r = (1 + r) * gain
            log_r = log(r)
        else:
            log_r += log_gain
            r = float(np.exp(min(log_r, 700.0)))
        evidence[i], recurring[i] = log_m, log_r
    after = MartingaleState(state.edges, counts, (low, none, high), log_m, peak, log_r, state.rows + len(values))
    return after, Path(p_values, evidence, recurring)


def acknowledged(state: MartingaleState) -> MartingaleState:
    """The state after an alarm was dealt with: R begins anew, M stays as the evidence of the whole life."""
    return msgspec.structs.replace(state, log_recurring=None, capitals=(1 / 3, 1 / 3, 1 / 3))


def has_ever(state: MartingaleState, alpha: float) -> bool:
    """Whether M has ever reached 1/``alpha``: false alarms of a whole life have at most that chance."""
    return state.log_peak >= -log(alpha)


def is_due(state: MartingaleState, mean_rows: float) -> bool:
    """Whether R has reached ``mean_rows``: false alarms are at least that many rows apart in the mean."""
    return state.log_recurring is not None and state.log_recurring >= log(mean_rows)


def _conformal(state: MartingaleState, values: Array, ties: Array) -> tuple[Array, tuple[int, ...]]:
    """p_i = (#{j ≤ i: a_j > a_i} + U_i #{j ≤ i: a_j = a_i}) / i, over the pool and the rows so far, by cells."""
    places = np.searchsorted(np.asarray(state.edges), values, side="right")
    counts = np.asarray(state.counts, np.int64)
    p_values = np.empty(len(values))
    for first in range(0, len(values), _CHUNK):
        part = places[first : first + _CHUNK]
        above_of = counts.sum() - np.cumsum(counts)
        earlier = np.tri(len(part), k=-1, dtype=bool)
        above = above_of[part] + (earlier & (part[None, :] > part[:, None])).sum(axis=1)
        same = counts[part] + (earlier & (part[None, :] == part[:, None])).sum(axis=1) + 1
        seen = counts.sum() + np.arange(1, len(part) + 1)
        p_values[first : first + _CHUNK] = (above + ties[first : first + _CHUNK] * same) / seen
        counts = counts + np.bincount(part, minlength=len(counts))
    return p_values, tuple(counts.tolist())


def _checked(scores: Array) -> Array:
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or np.isnan(values).any():
        raise InvalidInput("scores are one number a row, none of them NaN")
    return values
