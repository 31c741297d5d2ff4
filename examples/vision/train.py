"""A small convolutional network, trained on two thirds of the digits; the others are for judging it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

DATA_URI = "sklearn://datasets/digits"
EPOCHS = 6
BATCH = 64
CALIBRATION_ROWS = 256


@dataclass(frozen=True)
class Training:
    """What was learned from how many rows, and the share of right answers on rows that it has not seen."""

    rows: int
    held_out_rows: int
    accuracy: float


class Digits(nn.Module):
    """``image`` float32 [batch, 1, 8, 8], ink between 0 and 1 → ``logits`` float32 [batch, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(_layer(1, 48), _layer(48, 96), nn.MaxPool2d(2), _layer(96, 192), _layer(192, 192))
        self.head = nn.Linear(192, 10)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.head(self.body(image).mean((2, 3)))}


def train(folder: Path) -> Training:
    """Train it and write ``digits.pt2``, ``calibration.npz`` (training rows) and ``held_out.npz`` into ``folder``.

    The held-out rows carry their ground truth as ``label``, which is never fed to a model.
    """
    torch.manual_seed(0)
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, np.newaxis]
    x, x_held, y, y_held = train_test_split(
        images, digits.target, test_size=1 / 3, random_state=0, stratify=digits.target
    )
    model = Digits()
    _fit(model, torch.from_numpy(x), torch.from_numpy(y))
    model.eval()
    with torch.no_grad():
        answers = model(torch.from_numpy(x_held))["logits"].argmax(-1).numpy()
    batch = torch.export.Dim("batch")
    program = torch.export.export(model, (torch.from_numpy(x[:2]),), dynamic_shapes={"image": {0: batch}})
    torch.export.save(program, folder / "digits.pt2")
    np.savez(folder / "calibration.npz", image=x[:CALIBRATION_ROWS])
    np.savez(folder / "held_out.npz", image=x_held, label=y_held)
    return Training(len(x), len(x_held), float((answers == y_held).mean()))


def _layer(channels: int, filters: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU())


def _fit(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    threads = torch.get_num_threads()
    # Layers this small gain nothing from more, which only wait for each other.
    torch.set_num_threads(1)
    optimizer: Any = torch.optim.AdamW(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=EPOCHS * -(-len(x) // BATCH))
    model.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows])["logits"], y[rows]).backward()
            optimizer.step()
            schedule.step()
    torch.set_num_threads(threads)
