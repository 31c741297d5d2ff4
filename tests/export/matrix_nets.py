"""The matrix's neural networks and finished graphs: PyTorch in every form that people keep it in, Keras, ONNX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import torch
from keras import layers

from tests import models
from tests.export.exports import saved_rows

Case = Callable[[], dict[str, Any]]

NETS = """
import torch
from torch import nn

class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Dropout(0.5), nn.Linear(8, 3))

    def forward(self, x):
        return self.layers(x).softmax(-1)

class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 10))

    def forward(self, image):
        return self.layers(image)

class Recurrent(nn.Module):
    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.cell, self.head = kind(3, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, steps):
        return self.head(self.cell(steps)[0][:, -1])

def gru():
    return Recurrent(nn.GRU)

class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1)

    def forward(self, tokens):
        return self.body(self.embed(tokens)).mean(1)

class Several(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Embedding(9, 3)

    def forward(self, features, kind):
        joined = self.left(features) + self.right(kind)
        return {"joined": joined, "length": joined.norm(dim=-1), "best": joined.argmax(-1)}

class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2).double()

    def forward(self, x):
        return self.layer(x)

class Series(nn.Module):
    def __init__(self):
        super().__init__()
        self.filter = nn.Conv1d(2, 3, 3, padding=1)

    def forward(self, series):
        return self.filter(series)

class Where(nn.Module):
    def forward(self, x):
        return torch.where(x > 0, x, torch.exp(x) - 1)
"""


def net(attribute: str, dynamic: str | None = None, **sample: Any) -> Case:
    def build() -> dict[str, Any]:
        Path("nets.py").write_text(NETS)
        return {"source": f"nets.py:{attribute}", "sample": saved_rows(**sample), "dynamic": dynamic}

    return build


def weights(save: Callable[[Any, str], Any], name: str) -> Case:
    def build() -> dict[str, Any]:
        Path("nets.py").write_text("from torch import nn\ndef make():\n    return nn.Sequential(nn.Linear(4, 3))\n")
        torch.manual_seed(0)
        save(torch.nn.Sequential(torch.nn.Linear(4, 3)).state_dict(), name)
        return {"source": name, "factory": "nets.py:make", "sample": saved_rows(input=normal(9, 4))}

    return build


def program() -> dict[str, Any]:
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)).eval()
    shapes = ({0: torch.export.Dim("rows")},)
    torch.export.save(torch.export.export(module, (torch.randn(2, 4),), dynamic_shapes=shapes), "model.pt2")
    return {"source": "model.pt2"}


def kept(make: Callable[[], keras.Model]) -> Case:
    def build() -> dict[str, Any]:
        keras.utils.set_random_seed(0)
        make().save("model.keras")
        return {"source": "model.keras"}

    return build


def graph(model: onnx.ModelProto) -> Case:
    def build() -> dict[str, Any]:
        return {"source": models.saved(model, Path("in.onnx"))}

    return build


def newer(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    model.ir_version = 13
    model.opset_import[0].version = opset
    return model


def normal(*shape: int, dtype: str = "float32") -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def below(limit: int, *shape: int) -> Any:
    return np.random.default_rng(0).integers(0, limit, shape)


def image_model() -> keras.Model:
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def series_model() -> keras.Model:
    return keras.Sequential([layers.Input((6, 2)), layers.Conv1D(4, 3), layers.GRU(3), layers.Dense(1)])


def table_model() -> keras.Model:
    left, kind = layers.Input((4,), name="features"), layers.Input((), dtype="int32", name="kind")
    joined = layers.Add()([layers.Dense(3)(left), layers.Embedding(9, 3)(kind)])
    return keras.Model([left, kind], [layers.Dense(1, name="score")(joined), layers.Dense(2, name="pair")(joined)])


TORCH: dict[str, Case] = {
    "torch layers": net("Mlp", x=normal(9, 4)),
    "torch layers of float64 rows": net("Mlp", x=normal(9, 4, dtype="float64")),
    "torch module of float64": net("Wide", x=normal(9, 4, dtype="float64")),
    "torch image": net("Cnn", image=normal(5, 1, 8, 8)),
    "torch lstm of any length": net("Recurrent", "1=time", steps=normal(5, 6, 3)),
    "torch gru": net("gru", steps=normal(5, 6, 3)),
    "torch transformer of any length": net("Transformer", "tokens:1=sequence", tokens=below(50, 5, 7)),
    "torch several inputs and outputs": net("Several", features=normal(7, 4), kind=below(9, 7)),
    "torch series of any length": net("Series", "2=time", series=normal(5, 2, 8)),
    "torch choice by value": net("Where", x=normal(9, 4)),
    "torch weights": weights(torch.save, "weights.pt"),
    "torch program": program,
}
KERAS: dict[str, Case] = {
    "keras image": kept(image_model),
    "keras series": kept(series_model),
    "keras several inputs and outputs": kept(table_model),
}
ONNX: dict[str, Case] = {
    "onnx classifier": graph(models.labelled_classifier()),
    "onnx columns of several types": graph(models.mixed_columns()),
    "onnx of opset 26 and IR 13": graph(newer(models.classifier(), 26)),
}
