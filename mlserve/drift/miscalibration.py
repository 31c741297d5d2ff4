"""Whether a model is still as often right as it was at fit when it says how sure it is: labels of the window needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlserve.drift.calibration import Bin
from mlserve.drift.findings import ALPHA, decided
from mlserve.drift.judgements import Judgement, Layer
from mlserve.errors import InvalidInput
from mlserve.rows.tables import Array

FEWEST_LABELS = 100
LEAST_GAP = 0.03
"""Three probabilities in a hundred: a smaller gap is nothing that anybody acts on."""
DRAWS = (999, 20_000)
"""As many as the level needs, were it shared by ten tests, within these."""
NOISE_QUANTILE = 0.99


def calibrated(bins: Sequence[Bin], probabilities: Array) -> Array:
    """How often rows of ``probabilities`` (rows,) came true at fit: between bins by a straight line, rising.

    Raises InvalidInput without bins.

    >>> calibrated([Bin(0.2, 0.1, 50.0), Bin(0.8, 0.7, 50.0)], np.array([0.0, 0.5, 0.8])).round(4).tolist()
    [0.1, 0.4, 0.7]
    """
    if not bins:
        raise InvalidInput("a calibration without bins maps nothing")
    weights = np.array([one.rows for one in bins])
    observed = rising(np.array([one.observed for one in bins]), weights)
    found: Array = np.interp(probabilities, [one.predicted for one in bins], observed)
    return found


def rising(values: Array, weights: Array) -> Array:
    """The nearest values that never fall, by least squares (pool adjacent violators); (n,) each.

    >>> rising(np.array([0.1, 0.4, 0.2]), np.ones(3)).round(4).tolist()
    [0.1, 0.3, 0.3]
    """
    pools: list[list[float]] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        pools.append([value, weight, 1])
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            last, before = pools.pop(), pools.pop()
            both = last[1] + before[1]
            pools.append([(last[0] * last[1] + before[0] * before[1]) / both, both, last[2] + before[2]])
    return np.repeat([pool[0] for pool in pools], [int(pool[2]) for pool in pools])


def judge_calibration(
    bins: Sequence[Bin], probabilities: Array, happened: Array, *, seed: int = 0, alpha: float = ALPHA
) -> Judgement:
    """Whether what ``happened`` (rows, bool) is what ``bins`` of the fit promised for ``probabilities`` (rows,).

    The effect is the mean gap over the fit's bins, weighed by rows. What it is by chance is drawn: outcomes as
    promised, and promises as uncertain as the fit's rows left them; so p = (k + 1) / (n + 1). Its threshold is beyond
    what chance reaches once in a hundred. Too few labels are said, and no p-value is given.
    """
    if len(probabilities) < FEWEST_LABELS or not bins:
        few = f"{len(probabilities):,} labelled rows, and {FEWEST_LABELS} are needed at least"
        return Judgement(Layer.PREDICTION, "calibration", "calibration", detail=few if bins else "none at fit")
    ends = (np.array([one.predicted for one in bins])[1:] + np.array([one.predicted for one in bins])[:-1]) / 2
    cell = np.searchsorted(ends, probabilities)
    rows = np.bincount(cell, minlength=len(bins)).astype(np.float64)
    promised = np.bincount(cell, weights=calibrated(bins, probabilities), minlength=len(bins))
    seen = np.bincount(cell, weights=happened.astype(np.float64), minlength=len(bins))
    gap = float(np.abs(seen - promised).sum() / rows.sum())
    draws = min(DRAWS[1], max(DRAWS[0], round(10 / alpha)))
    by_chance = _gaps_by_chance(bins, rows, promised, draws, np.random.default_rng(seed))
    noise = float(np.quantile(by_chance, NOISE_QUANTILE))
    shown = [
        {"predicted": one.predicted, "observed": float(true / max(count, 1)), "rows": int(count)}
        for one, true, count in zip(bins, seen, rows, strict=True)
    ]
    made = Judgement(
        Layer.PREDICTION,
        "calibration",
        "calibration",
        statistic=gap,
        p_value=float((1 + (by_chance >= gap).sum()) / (1 + draws)),
        effect=gap,
        threshold=round(max(noise, LEAST_GAP), 4),
        expected=[one.to_dict() for one in bins],
        actual=shown,
        detail=f"the share that came true is {abs(seen.sum() - promised.sum()) / rows.sum():.3f} "
        f"{'above' if seen.sum() > promised.sum() else 'below'} what it was at fit",
    )
    return decided(made, alpha=alpha)


def _gaps_by_chance(
    bins: Sequence[Bin], rows: Array, promised: Array, draws: int, random: np.random.Generator
) -> Array:
    """(draws,) gaps of windows whose outcomes are as at fit."""
    share = np.clip(np.divide(promised, rows, out=np.zeros(len(rows)), where=rows > 0), 0.0, 1.0)
    fitted = np.array([one.rows for one in bins])
    # What the fit's rows say of a share is a beta distribution (Jeffreys).
    true = random.beta(share * fitted + 0.5, (1 - share) * fitted + 0.5, (draws, len(bins)))
    happened = random.binomial(rows.astype(np.int64), true)
    found: Array = np.abs(happened - share * rows).sum(axis=1) / rows.sum()
    return found
