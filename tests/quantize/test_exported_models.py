"""Models as the exporters write them, made smaller: a torch transformer, and a scikit-learn pipeline with words."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mlserve.export.exporting import export
from mlserve.quantize.quantizing import quantize
from mlserve.runtime.model import load_model
from tests.export import checkpoints
from tests.quantize.processors import SLACK

NOW = datetime(2026, 1, 2, tzinfo=UTC)

ENCODER = """
import torch
from torch import nn

class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(500, 64)
        self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 256, batch_first=True), 1)
        self.head = nn.Linear(64, 5)

    def forward(self, tokens):
        return {"logits": self.head(self.body(self.embed(tokens)).mean(1))}
"""


def test_a_transformer_from_torch_shrinks_and_still_decides_alike() -> None:
    Path("encoder.py").write_text(ENCODER)
    np.savez("tokens.npz", tokens=np.random.default_rng(0).integers(0, 500, (64, 12)))
    np.savez("others.npz", tokens=np.random.default_rng(1).integers(0, 500, (64, 12)))
    sample = Path("tokens.npz")
    export("encoder.py:Encoder", Path("m.onnx"), sample=sample, dynamic="1=sequence", by="tester", now=NOW)

    ratios = {}
    for method in ("fp16", "int8-dynamic", "int8"):
        report = quantize(
            Path("m.onnx"),
            Path(f"{method}.onnx"),
            method=method,
            calibrate=Path("others.npz"),
            evaluate=sample,
            max_drop=0.1 * SLACK,
            by="tester",
            now=NOW,
        )
        assert report.reasons == ()
        ratios[method] = report.size_ratio

    assert ratios["fp16"] > 1.8
    assert ratios["int8-dynamic"] > 2.8


def test_a_pipeline_with_words_shrinks_and_still_decides_alike() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"age": rng.normal(40, 10, 300), "city": rng.choice(["Bern", "Oslo"], 300)})
    target = (table["age"] > 40).astype(int)
    front = ColumnTransformer([("n", StandardScaler(), ["age"]), ("w", OneHotEncoder(), ["city"])])
    model = make_pipeline(front, MLPClassifier([128, 64], max_iter=500, tol=1e-3, random_state=0)).fit(table, target)
    joblib.dump(model, "m.joblib")
    table.assign(label=target).to_csv("rows.csv", index=False)
    table[:200].to_csv("seen.csv", index=False)
    table[200:].assign(label=target[200:]).to_csv("held_out.csv", index=False)
    rows = Path("rows.csv")
    export("m.joblib", Path("m.onnx"), sample=rows, allow_pickle=True, by="tester", now=NOW)

    for method in ("fp16", "int8-dynamic", "int8"):
        report = quantize(
            Path("m.onnx"),
            Path(f"{method}.onnx"),
            method=method,
            calibrate=Path("seen.csv"),
            evaluate=Path("held_out.csv"),
            metric="accuracy",
            max_drop=0.05,
            by="tester",
            now=NOW,
        )
        assert report.reasons == ()


def test_a_model_that_takes_text_shrinks_and_still_takes_text() -> None:
    checkpoints.sentences(Path("model"))
    Path("rows.csv").write_text("text\n" + "hello world\nthe cat reads\n" * 8, encoding="utf-8")
    export("model", Path("m.onnx"), text=True, by="tester", now=NOW)

    report = quantize(
        Path("m.onnx"),
        Path("small.onnx"),
        method="int8-dynamic",
        evaluate=Path("rows.csv"),
        metric="cosine",
        max_drop=0.05,
        force=True,
        by="tester",
        now=NOW,
    )

    assert report.metric is not None
    assert report.metric.after > 0.95
    answer = load_model(Path("small.onnx"), device="cpu").run({"text": np.array(["hello"], object)})
    assert answer["sentence_embedding"].shape == (1, checkpoints.WIDTH)
