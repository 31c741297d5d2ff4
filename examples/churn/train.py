"""A logistic regression on flights: of the first half of the year, and of that with a window of later ones.

Every other week (of a window: every other day) is learned from. The others are what later traffic is held against:
on what a model was trained on it is more often right than it will ever be again.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from examples.churn.flights import FEATURES, NUMBERS, SECOND_HALF, TEXTS

LEARNED, REFERENCE, SAMPLE = "learned.parquet", "reference.parquet", "sample.parquet"
SAMPLE_ROWS = 500
DETECTORS = ("--detector", "ks", "--detector", "chi2")
"""One feature at a time. Whole rows would always differ: no fortnight has the weather of another."""


def split(folder: Path, year: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The weeks to learn from and those to be held against, also as ``LEARNED`` and ``REFERENCE`` in ``folder``."""
    early = year[year.date < SECOND_HALF]
    is_learned = (early.date - early.date.min()).dt.days // 7 % 2 == 0
    learned, reference = early[is_learned], early[~is_learned]
    learned[[*FEATURES, "label"]].to_parquet(folder / LEARNED, index=False)
    reference[[*FEATURES, "label", "time"]].to_parquet(folder / REFERENCE, index=False)
    return learned, reference


def split_window(window: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every other day of a window of traffic, to learn from, and the days between; labelled rows only.

    Traffic has no date of the flight, but it comes in the order of flights, so where the weekday changes a day begins.
    """
    day = (window.weekday != window.weekday.shift()).cumsum()
    known = window.label.notna()
    return window[known & (day % 2 == 0)], window[known & (day % 2 == 1)]


def train(path: Path, rows: pd.DataFrame) -> Pipeline:
    """Fit a pipeline on ``rows``, and write it to ``path``, a ``.skops``."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    texts = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer([("numbers", numbers, list(NUMBERS)), ("texts", texts, list(TEXTS))])
    pipeline = make_pipeline(columns, LogisticRegression(max_iter=300))
    pipeline.fit(rows[list(FEATURES)], rows.label.astype("int64"))
    skops.io.dump(pipeline, path)
    return pipeline


def judge(pipeline: Pipeline, rows: pd.DataFrame) -> dict[str, float]:
    """``log_loss`` and ``auc`` of ``pipeline`` on ``rows``."""
    late = pipeline.predict_proba(rows[list(FEATURES)])[:, 1]
    return {"log_loss": float(log_loss(rows.label, late)), "auc": float(roc_auc_score(rows.label, late))}
