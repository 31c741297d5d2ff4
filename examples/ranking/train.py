"""Three rankers of the same features: the one that serves, one that is better, and one that only seemed to be."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from examples.ranking.features import NAMES, Question

WORDS = ("words_shared", "document_chars")


@dataclass(frozen=True)
class Ranker:
    """A trained ranker's file, and what it has learned from in a few words."""

    model: Path
    learned_from: str


def train(folder: Path, asked: Sequence[Question]) -> list[Ranker]:
    """Train on ``asked``, and write ``champion.skops``, ``better.skops``, ``clicks.skops`` and ``asked.csv``.

    Each gives a row one number; a query's rows in the order of theirs are its answer.
    """
    x = np.concatenate([question.features for question in asked])
    relevant = np.concatenate([question.relevant for question in asked])
    _write_csv(folder / "asked.csv", x, relevant)
    return [
        _fit(folder / "champion.skops", _scaled(WORDS), x, relevant, "words in common and length"),
        _fit(folder / "better.skops", _scaled(NAMES), x, relevant, "everything, MiniLM's vectors among it"),
        # What was clicked says what people saw and liked the look of: short texts, whether they answer or not.
        _fit(folder / "clicks.skops", _scaled(NAMES), x, _clicks(x), "everything, but clicks in place of the truth"),
    ]


def _scaled(names: Sequence[str]) -> Pipeline:
    columns = [NAMES.index(name) for name in names]
    return make_pipeline(ColumnTransformer([("scaled", StandardScaler(), columns)]), Ridge())


def _clicks(x: np.ndarray) -> np.ndarray:
    liking = 1 / (1 + np.exp(4 * (x[:, NAMES.index("document_chars")] - 0.6)))
    return (np.random.default_rng(0).random(len(x)) < liking).astype(np.int64)


def _fit(path: Path, pipeline: Pipeline, x: np.ndarray, y: np.ndarray, learned_from: str) -> Ranker:
    skops.io.dump(pipeline.fit(x, y), path)
    return Ranker(path, learned_from)


def _write_csv(path: Path, x: np.ndarray, labels: np.ndarray) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*NAMES, "label"])
        writer.writerows([*(f"{value:.9g}" for value in row), int(y)] for row, y in zip(x, labels, strict=True))
