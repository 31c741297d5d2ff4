"""Both checkpoints side by side: on the same text, and in turns against the clock."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from mlserve.core.progress import Progress
from mlserve.errors import InvalidInput
from mlserve.quantize.checkpoints.metrics import measure
from mlserve.quantize.checkpoints.scores import Speed
from mlserve.quantize.checkpoints.scoring import score
from mlserve.quantize.checkpoints.windows import windows
from mlserve.quantize.gate import Metric
from mlserve.quantize.measuring import Latency, measure_latency
from mlserve.rows.texts import read_texts
from mlserve.runtime.generation.opening import Opened, open_checkpoint, quiet

MAX_WINDOW = 1024
MAX_TOKENS = 200_000
"""Tokens of a text that are looked at: more make the interval narrower than anybody asks for."""

LATENCY_ROWS = (1, 8)
LATENCY_TOKENS = 16
LATENCY_BUDGET_S = 1.0
SEED = 0


@dataclass(frozen=True, slots=True)
class Found:
    """What was measured. ``memory_bytes`` are of the weights in memory, before and after."""

    metrics: Mapping[str, Metric]
    is_finite: bool
    latency: tuple[Latency, ...]
    speeds: tuple[Speed, ...]
    memory_bytes: tuple[int, int]
    notes: tuple[str, ...]


def try_both(source: Path, made: Path, evaluate: Path | None, progress: Progress) -> Found:
    """Load both folders, the new one as it was written, and measure them.

    Raises InvalidInput for a text that is too short to judge by; as ``open_checkpoint`` and ``read_texts``.
    """
    before = open_checkpoint(source)
    after = open_checkpoint(made, label="the quantized checkpoint")
    metrics: Mapping[str, Metric] = {}
    notes, is_finite = [], True
    with quiet():
        if evaluate is None:
            notes.append("no metric was measured: give --evaluate TEXT that it was not trained on")
            prompt = [before.ends[0] if before.ends else 0] * 8
        else:
            length = min(before.max_tokens or MAX_WINDOW, MAX_WINDOW)
            tokens = islice(_tokens(before, evaluate), MAX_TOKENS)
            parts = windows(tokens, length, max(1, length // 2))
            scores = score(before.model, after.model, parts, lambda done: progress("evaluate", done, None))
            if not scores.tokens:
                raise InvalidInput(f"'{evaluate}' has not two tokens to judge by")
            if scores.tokens >= MAX_TOKENS - 1:
                notes.append(f"the first {MAX_TOKENS} tokens of '{evaluate}' were judged")
            metrics, is_finite = measure(scores, seed=SEED), scores.is_finite
            prompt = list(islice(_tokens(before, evaluate), 32))
        room = (before.max_tokens or MAX_WINDOW) - LATENCY_TOKENS
        latency = tuple(_latency(before, after, prompt[: max(1, room)], rows, progress) for rows in LATENCY_ROWS)
    speeds = tuple(
        Speed(one.rows, _per_second(one.rows, one.before_ms), _per_second(one.rows, one.after_ms)) for one in latency
    )
    return Found(metrics, is_finite, latency, speeds, (before.memory_bytes, after.memory_bytes), tuple(notes))


def _tokens(opened: Opened, path: Path) -> Iterator[int]:
    """The tokens of all texts; what a tokenizer puts around a text is between texts, as in training."""
    for text in read_texts(path):
        yield from opened.tokenizer(text, verbose=False)["input_ids"]


def _latency(before: Opened, after: Opened, prompt: list[int], rows: int, progress: Progress) -> Latency:
    progress("measure", LATENCY_ROWS.index(rows), len(LATENCY_ROWS))
    ids = torch.tensor([prompt] * rows)

    def run(opened: Opened) -> Any:
        return opened.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=LATENCY_TOKENS,
            min_new_tokens=LATENCY_TOKENS,
        )

    return measure_latency(
        lambda _: run(before), lambda _: run(after), {}, rows=rows, clock=time.perf_counter, budget_s=LATENCY_BUDGET_S
    )


def _per_second(rows: int, run_ms: float) -> float:
    return rows * LATENCY_TOKENS / (run_ms / 1e3)
