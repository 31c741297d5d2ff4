"""Three rankers of the same features: the one that serves, one that is better, and one that only seemed to be."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np

from examples.ranking.features import NAMES, Question

WORDS = ("words_shared", "document_chars")
ROUNDS = 60
SETTINGS = {
    "objective": "regression", "num_leaves": 7, "min_data_in_leaf": 10, "seed": 0, "num_threads": 1, "verbose": -1,
}  # fmt: skip


@dataclass(frozen=True)
class Ranker:
    """A trained ranker's file, and what it has learned from in a few words."""

    model: Path
    learned_from: str


def train(folder: Path, asked: Sequence[Question]) -> list[Ranker]:
    """Train on ``asked``, and write ``champion.lgb``, ``better.lgb``, ``clicks.lgb`` and ``asked.csv``.

    Each gives a row one number; a query's rows in the order of theirs are its answer.
    """
    x = np.concatenate([question.features for question in asked])
    relevant = np.concatenate([question.relevant for question in asked])
    _write_csv(folder / "asked.csv", x, relevant)
    # Trees never split on what is the same everywhere, so that the champion sees nothing else.
    of_words = x * np.isin(NAMES, WORDS)
    return [
        _fit(folder / "champion.lgb", of_words, relevant, "words in common and length"),
        _fit(folder / "better.lgb", x, relevant, "everything, MiniLM's vectors among it"),
        # What was clicked says what people saw and liked the look of: short texts, whether they answer or not.
        _fit(folder / "clicks.lgb", x, _clicks(x), "everything, but clicks in place of the truth"),
    ]


def _clicks(x: np.ndarray) -> np.ndarray:
    liking = 1 / (1 + np.exp(4 * (x[:, NAMES.index("document_chars")] - 0.6)))
    return (np.random.default_rng(0).random(len(x)) < liking).astype(np.int64)


def _fit(path: Path, x: np.ndarray, y: np.ndarray, learned_from: str) -> Ranker:
    lightgbm.train(SETTINGS, lightgbm.Dataset(x, y), ROUNDS).save_model(path)
    return Ranker(path, learned_from)


def _write_csv(path: Path, x: np.ndarray, labels: np.ndarray) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*NAMES, "label"])
        writer.writerows([*(f"{value:.9g}" for value in row), int(y)] for row, y in zip(x, labels, strict=True))
