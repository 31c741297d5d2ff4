"""From sums over windows to metrics with intervals.

perplexity   exp of the mean negative log-likelihood a token; the drop is how much it grows
kl           mean KL divergence a token of the original's chances from the smaller model's, in nats; the drop is all
agreement    share of tokens at which both would take the same next one; the drop is what is missing to 1
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlserve.core.refs import did_you_mean
from mlserve.errors import UsageError
from mlserve.quantize.checkpoints.scores import AGREED, KL, NLL_AFTER, NLL_BEFORE, TOKENS, Scores
from mlserve.quantize.gate import Metric

NAMES = ("perplexity", "kl", "agreement")
DRAWS = 1000

Pair = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def check_metric(name: str) -> None:
    """Raises UsageError for a name that is no metric of language models."""
    if name not in NAMES:
        hint = did_you_mean(name, NAMES) or f"there are {', '.join(NAMES)}"
        raise UsageError(f"'{name}' is no metric of checkpoint folders", hint=hint)


def measure(scores: Scores, *, seed: int) -> Mapping[str, Metric]:
    """Each metric, its drop with a 95 % interval by bootstrap over windows (tokens of one are no independent draws)."""
    sums = scores.sums
    index = np.random.default_rng(seed).integers(0, len(sums), (DRAWS, len(sums)))
    drawn = sums[index].sum(axis=1)
    found = {}
    for name in NAMES:
        before, after = (float(value[0]) for value in _values(name, sums.sum(axis=0, keepdims=True)))
        least, most = np.quantile(_drop(name, _values(name, drawn)), (0.025, 0.975))
        drop = float(_drop(name, (np.array(before), np.array(after))))
        found[name] = Metric(name, before, after, drop, (float(least), float(most)), scores.tokens)
    return found


def _values(name: str, sums: np.ndarray[Any, Any]) -> Pair:
    """The metric before and after, for each row of sums."""
    tokens = sums[:, TOKENS]
    with np.errstate(over="ignore", invalid="ignore"):
        if name == "perplexity":
            return np.exp(sums[:, NLL_BEFORE] / tokens), np.exp(sums[:, NLL_AFTER] / tokens)
        if name == "kl":
            return np.zeros(len(sums)), sums[:, KL] / tokens
        return np.ones(len(sums)), sums[:, AGREED] / tokens


def _drop(name: str, pair: Pair) -> np.ndarray[Any, Any]:
    before, after = pair
    return before - after if name == "agreement" else after - before
