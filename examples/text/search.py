"""A client that sends texts to a server and finds the nearest ones; it speaks the protocol and needs no mlserve."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Sequence

import numpy as np

BATCH = 16


def embed(url: str, model: str, texts: Sequence[str]) -> np.ndarray:
    """The vectors of ``texts``, (texts, width), each of length 1."""
    parts = [_ask(url, model, texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)]
    return np.concatenate(parts)


def nearest(question: np.ndarray, vectors: np.ndarray, names: Sequence[str]) -> list[tuple[str, float]]:
    """The three names whose vectors have the largest cosine with ``question``, and those cosines."""
    cosines = vectors @ question
    return [(names[place], round(float(cosines[place]), 3)) for place in np.argsort(-cosines)[:3]]


def _ask(url: str, model: str, texts: Sequence[str]) -> np.ndarray:
    tensor = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)}
    request = urllib.request.Request(
        f"{url}/v2/models/{model}/infer",
        json.dumps({"inputs": [tensor]}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        (output,) = json.load(answer)["outputs"]
    return np.array(output["data"], np.float32).reshape(output["shape"])
