"""When requests of an open loop are due: fixed in advance, whatever the server does. Pure, given the generator."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

Arrivals = Literal["poisson", "uniform", "bursty"]
Offsets = np.ndarray[Any, np.dtype[np.float64]]

BURST_S = 0.05
"""A bursty source is on for so long on average, and off for as long as keeps the mean rate."""
BURST_FACTOR = 2.0
"""So many times its mean rate while it is on."""


def arrivals(kind: Arrivals, rate: float, duration_s: float, rng: np.random.Generator) -> Offsets:
    """The times at which requests are due, in seconds from the start, ascending, below ``duration_s``.

    ``uniform`` is one each 1/rate, ``poisson`` independent clients, ``bursty`` a source that switches between silence
    and twice the rate at random (an interrupted Poisson process with the same mean).

    >>> arrivals("uniform", 4, 0.8, np.random.default_rng(0)).tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    if kind == "uniform":
        return np.arange(int(np.ceil(rate * duration_s - 1e-9))) / rate
    if kind == "poisson":
        return _poisson(rate, duration_s, rng)
    # On the clock of "on" times, the bursts are one Poisson process at the higher rate; silences push it apart.
    on_s, off_s = _switches(duration_s, rng)
    inside = _poisson(rate * BURST_FACTOR, float(on_s.sum()), rng)
    burst = np.searchsorted(np.cumsum(on_s), inside, side="right")
    silent_before_s = np.concatenate([[0.0], np.cumsum(off_s)])[burst]
    due: Offsets = inside + silent_before_s
    return due[due < duration_s]


def _poisson(rate: float, duration_s: float, rng: np.random.Generator) -> Offsets:
    count = rng.poisson(rate * duration_s)
    return np.sort(rng.uniform(0.0, duration_s, count))


def _switches(duration_s: float, rng: np.random.Generator) -> tuple[Offsets, Offsets]:
    """How long each burst and the silence after it last, enough of them to fill ``duration_s``."""
    count = int(4 * duration_s / BURST_S) + 64
    return rng.exponential(BURST_S, count), rng.exponential(BURST_S * (BURST_FACTOR - 1), count)
