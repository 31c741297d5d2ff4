"""A checkpoint's tokenizer, twice: as transformers runs it, and as the graph that goes before the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from tokenizers import Tokenizer

from mlserve.errors import InvalidInput, Unsupported
from mlserve.export.exporter import Arrays
from mlserve.export.transformers_loading import Checkpoint, load_tokenizer
from mlserve.export.wordpiece import read_wordpiece
from mlserve.export.wordpiece_graph import TEXT, wordpiece_graph

UNLIMITED = 1_000_000
"""transformers says so much where a tokenizer has no limit, and more."""


@dataclass(frozen=True, slots=True)
class Tokenizing:
    """``tokenize`` is the original, ``graph`` the same as a graph with the outputs of the given names."""

    tokenize: Callable[[Sequence[str]], Arrays]
    graph: Callable[[Sequence[str], int], onnx.ModelProto]
    max_tokens: int
    input: str = TEXT


def read_tokenizing(checkpoint: Checkpoint) -> Tokenizing:
    """The tokenizer of ``checkpoint``. Raises NotFound without one, Unsupported for one that fits into no graph."""
    tokenizer = load_tokenizer(checkpoint.folder)
    max_tokens = _max_tokens(checkpoint, tokenizer)
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_padding()
    backend.no_truncation()
    rules = json.loads(backend.to_str())
    kind = rules["model"].get("type")
    if kind != "WordPiece":
        raise Unsupported(
            f"tokenizers of the kind {kind} do not go into a graph, only WordPiece (BERT and its like)",
            hint="leave out --text, and tokenize before the model",
        )
    if tokenizer.padding_side != "right" or tokenizer.truncation_side != "right":
        raise Unsupported("the tokenizer fills up or cuts on the left", hint="leave out --text")
    wordpiece = read_wordpiece(rules, backend, padding_id=tokenizer.pad_token_id, max_tokens=max_tokens)

    def tokenize(texts: Sequence[str]) -> dict[str, np.ndarray[Any, Any]]:
        options = {"padding": True, "truncation": True, "max_length": max_tokens, "return_token_type_ids": True}
        made = tokenizer(list(texts), return_tensors="np", **options)
        return {name: np.asarray(array, np.int64) for name, array in made.items()}

    return Tokenizing(tokenize, lambda names, opset: wordpiece_graph(wordpiece, names, opset), max_tokens)


def _max_tokens(checkpoint: Checkpoint, tokenizer: Any) -> int:
    """The least of what sentence-transformers, the tokenizer and the table of positions allow."""
    positions = getattr(checkpoint.config, "max_position_embeddings", None)
    limits = [_sentence_limit(checkpoint.folder), tokenizer.model_max_length, positions]
    known = [int(limit) for limit in limits if limit and limit < UNLIMITED]
    if not known:
        raise Unsupported(f"'{checkpoint.folder}' sets no limit to the length of a text", hint="leave out --text")
    return min(known)


def _sentence_limit(folder: Path) -> int | None:
    """``max_seq_length`` of sentence-transformers."""
    path = folder / "sentence_bert_config.json"
    if not path.is_file():
        return None
    try:
        limit = json.loads(path.read_text(encoding="utf-8")).get("max_seq_length")
    except (OSError, ValueError, AttributeError) as error:
        raise InvalidInput(f"'{path}' cannot be read: {error}") from error
    return None if limit is None else int(limit)
