"""Two models over the same windows: what each token cost either, how far their chances are apart, which they take."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from mlserve.quantize.checkpoints.scores import Scores
from mlserve.quantize.checkpoints.windows import Window

MAX_VALUES = 1 << 22
"""Logits that are compared at once: a large vocabulary goes in pieces."""


def score(before: Any, after: Any, windows: Iterable[Window], done: Callable[[int], None]) -> Scores:
    """Run both models on each window; ``done`` is told how many were. Memory is bounded by one window."""
    sums = []
    for number, window in enumerate(windows, start=1):
        ids = torch.tensor([window.tokens])
        at = slice(window.scored_from - 1, len(window.tokens) - 1)
        with torch.inference_mode():
            logits = [model(input_ids=ids.to(model.device)).logits[0, at].cpu() for model in (before, after)]
        sums.append(_sums(logits[0], logits[1], ids[0, window.scored_from :]))
        done(number)
    return Scores(np.array(sums, np.float64).reshape(-1, 5))


def _sums(before: torch.Tensor, after: torch.Tensor, truth: torch.Tensor) -> np.ndarray[Any, Any]:
    total = np.zeros(5)
    step = max(1, MAX_VALUES // before.shape[1])
    for start in range(0, len(truth), step):
        rows = slice(start, start + step)
        old, new, expected = before[rows].float(), after[rows].float(), truth[rows]
        likely, less = old.log_softmax(-1), new.log_softmax(-1)
        total += [
            float(-likely.gather(1, expected[:, None]).double().sum()),
            float(-less.gather(1, expected[:, None]).double().sum()),
            float((likely.exp() * (likely - less)).sum(-1).clamp(min=0.0).double().sum()),
            int((old.argmax(-1) == new.argmax(-1)).sum()),
            len(expected),
        ]
    return total
