"""Made-up inputs that a transformer's graph and module are compared on, where nobody gave a sample.

Token ids are random; rows are of several lengths and filled up under the mask, on the right as encoders have it, on the
left as generation has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlserve.core.tensors import Signature
from mlserve.export.exporter import Arrays
from mlserve.export.transformers_graph import PAST, SEQUENCE

LENGTHS = (12, 3, 12, 7, 1, 9, 12, 5)
"""Tokens of each made-up row."""

PAST_CASES = {
    "batch of 1": (1, 5, 4),
    "batch of 3": (3, 5, 4),
    "no past": (2, 0, 6),
    "one token": (2, 7, 1),
    "a longer past": (2, 11, 3),
}
"""Rows, tokens of the past, tokens of now: what a generation goes through."""

TEXTS = (
    "A man is eating food.",
    "",
    "The quick brown fox jumps over the lazy dog; doesn't it?",
    "Ünïcode: naïve café, ΑΒΓ, привет, İstanbul, 日本語のテキスト, 한국어, שלום, नमस्ते",
    "emoji 😀 and odd words: flarblewhizz, zzyzx, a1b2c3, 3.14159, e\u0301, ﬁne",
    "  spaces \t and\nlines  \u00a0 of \u200b every kind  ",
    "[MASK] [SEP] <s> </s> <mask> [CLS]",
    "one very long text, " * 400,
)
"""Texts at the edges of what tokenizers do."""


def encoder_example(signature: Signature, config: Any) -> Arrays:
    """Rows of ``LENGTHS`` tokens each, for inputs of [batch, sequence]."""
    rng = np.random.default_rng(0)
    shape = (len(LENGTHS), max(LENGTHS))
    mask = (np.arange(shape[1]) < np.array(LENGTHS)[:, None]).astype(np.int64)
    padding = getattr(config, "pad_token_id", None) or 0
    made = {
        "input_ids": np.where(mask == 1, _ids(rng, config, shape), padding),
        "attention_mask": mask,
        "token_type_ids": rng.integers(0, getattr(config, "type_vocab_size", 1), shape) * mask,
    }
    return {spec.name: made[spec.name] for spec in signature.inputs}


def past_cases(signature: Signature, config: Any) -> dict[str, Arrays]:
    """Inputs with keys and values of a past, by the name of the case."""
    return {name: past_example(signature, config, *case) for name, case in PAST_CASES.items()}


def past_example(signature: Signature, config: Any, rows: int = 4, past: int = 5, now: int = 4) -> Arrays:
    """``rows`` rows after ``past`` tokens with ``now`` more; every other row has two hidden tokens at its beginning."""
    rng = np.random.default_rng([rows, past, now])
    mask = np.ones((rows, past + now), np.int64)
    mask[1::2, : min(2, past)] = 0
    made = {
        "input_ids": _ids(rng, config, (rows, now)),
        "attention_mask": mask,
        "position_ids": np.maximum(np.cumsum(mask, 1) - 1, 0)[:, past:],
    }
    lengths = {PAST: past, SEQUENCE: now}
    for spec in signature.inputs:
        if spec.name not in made:
            dims = [rows, *(dim if isinstance(dim, int) else lengths[str(dim)] for dim in spec.dims[1:])]
            made[spec.name] = rng.standard_normal(dims).astype(np.float32)
    return {spec.name: made[spec.name] for spec in signature.inputs}


def texts() -> np.ndarray[Any, Any]:
    """``TEXTS`` as strings [batch]."""
    return np.array(TEXTS, object)


def _ids(rng: np.random.Generator, config: Any, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Ids of the vocabulary, the padding's not among them: some models find their positions by it."""
    ids = rng.integers(0, config.vocab_size, shape)
    padding = getattr(config, "pad_token_id", None)
    return ids if padding is None else np.where(ids == padding, (padding + 1) % config.vocab_size, ids)
