"""Two scikit-learn pipelines on the same real table: a hasty one, and the better one that replaces it."""

from __future__ import annotations

import csv
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

DATA_URI = "sklearn://datasets/breast_cancer"


@dataclass(frozen=True)
class Training:
    """A trained pipeline's file, what it was trained with, and what it reached on rows that it has not seen."""

    model: Path
    params: dict[str, Any]
    accuracy: float
    log_loss: float
    held_out_rows: int


def train(folder: Path) -> tuple[Training, Training]:
    """Train both pipelines and write ``v1.skops``, ``v2.skops`` and ``held_out.csv`` into ``folder``.

    The held-out rows carry their ground truth in the column ``label``, which is never fed to a model.
    """
    table = load_breast_cancer()
    x = table.data.astype(np.float32)
    x_train, x_held, y_train, y_held = train_test_split(
        x, table.target, test_size=0.5, random_state=7, stratify=table.target
    )
    _write_csv(folder / "held_out.csv", [*table.feature_names], x_held, y_held)
    hasty = {"hidden": [8], "max_iter": 12, "rows": 60, "seed": 0}
    better = {"hidden": [256, 128], "max_iter": 200, "rows": len(x_train), "seed": 0}
    return (
        _fit(folder / "v1.skops", hasty, x_train, y_train, x_held, y_held),
        _fit(folder / "v2.skops", better, x_train, y_train, x_held, y_held),
    )


def _fit(path: Path, params: dict[str, Any], x: Any, y: Any, x_held: Any, y_held: Any) -> Training:
    network = MLPClassifier(params["hidden"], max_iter=params["max_iter"], alpha=1e-2, random_state=params["seed"])
    pipeline = make_pipeline(StandardScaler(), network)
    with warnings.catch_warnings():
        # The hasty model is stopped early on purpose.
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline.fit(x[: params["rows"]], y[: params["rows"]])
    skops.io.dump(pipeline, path)
    return Training(
        path,
        params,
        float(accuracy_score(y_held, pipeline.predict(x_held))),
        float(log_loss(y_held, pipeline.predict_proba(x_held))),
        len(x_held),
    )


def _write_csv(path: Path, names: list[str], x: Any, y: Any) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*(name.replace(" ", "_") for name in names), "label"])
        writer.writerows([*(f"{value:.9g}" for value in row), int(label)] for row, label in zip(x, y, strict=True))


if __name__ == "__main__":
    import sys

    print(json.dumps([vars(item) for item in train(Path(sys.argv[1]))], default=str, indent=2))
