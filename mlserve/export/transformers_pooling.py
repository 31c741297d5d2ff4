"""How sentence-transformers makes one vector of many tokens: read from its files, as torch and as a graph.

The two are written apart from each other, so that comparing them says something.
Source: sentence_transformers/models/Pooling.py and Normalize.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mlserve.errors import InvalidInput, Unsupported

OUTPUT = "sentence_embedding"
MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
}
"""In the order in which several are put side by side."""

_SMALLEST_COUNT, _SMALLEST_NORM, _LOWEST = 1e-9, 1e-12, -1e9
_KINDS = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True, slots=True)
class Pooling:
    """``modes`` side by side, of unit length if ``is_normalised``; ``folder`` is the transformer's within the whole."""

    modes: tuple[str, ...]
    is_normalised: bool
    folder: str = ""

    def __str__(self) -> str:
        return "+".join(self.modes) + (", normalised" if self.is_normalised else "")


def read_pooling(folder: Path) -> Pooling | None:
    """The pooling that ``modules.json`` in ``folder`` asks for; None where there is none.

    Raises InvalidInput for files that cannot be read, Unsupported for other modules or modes than are known here.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return None
    modules = _read(path)
    try:
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
        paths = [str(module["path"]) for module in modules]
    except (TypeError, KeyError) as error:
        raise InvalidInput(f"'{path}' is not a list of modules") from error
    if tuple(kinds) not in (_KINDS, _KINDS[:2]):
        raise Unsupported(f"'{folder}' is made of {', '.join(kinds)}, and {', '.join(_KINDS)} can be exported")
    return Pooling(_modes(folder / paths[1] / "config.json"), len(kinds) == len(_KINDS), paths[0])


def pool(pooling: Pooling, tokens: Any, mask: Any) -> Any:
    """Sentence vectors of ``tokens`` (batch, sequence, width) under ``mask`` (batch, sequence), as torch tensors."""
    import torch

    weights = mask.unsqueeze(-1).expand(tokens.size()).to(tokens.dtype)
    parts = {
        "cls": lambda: tokens[:, 0],
        "max": lambda: tokens.masked_fill(weights == 0, _LOWEST).max(1).values,
        "mean": lambda: (tokens * weights).sum(1) / weights.sum(1).clamp(min=_SMALLEST_COUNT),
    }
    vectors = torch.cat([parts[mode]() for mode in pooling.modes], 1)
    return torch.nn.functional.normalize(vectors, p=2, dim=1) if pooling.is_normalised else vectors


def pooling_graph(pooling: Pooling, width: int, opset: int) -> onnx.ModelProto:
    """``last_hidden_state`` [batch, sequence, width], ``attention_mask`` [batch, sequence] → ``sentence_embedding``."""
    constants: dict[str, np.ndarray[Any, Any]] = {
        "sequence_axis": np.array([1], np.int64),
        "width_axis": np.array([2], np.int64),
        "first": np.array(0, np.int64),
        "zero": np.array(0, np.int64),
        "lowest": np.array(_LOWEST, np.float32),
        "smallest_count": np.array(_SMALLEST_COUNT, np.float32),
        "smallest_norm": np.array(_SMALLEST_NORM, np.float32),
    }
    nodes = [node for mode in pooling.modes for node in _MODES[mode]()]
    nodes.append(helper.make_node("Concat", list(pooling.modes), ["pooled"], axis=1))
    if pooling.is_normalised:
        nodes += [
            helper.make_node("ReduceL2", ["pooled", "sequence_axis"], ["norm"], keepdims=1),
            helper.make_node("Max", ["norm", "smallest_norm"], ["safe_norm"]),
            helper.make_node("Div", ["pooled", "safe_norm"], [OUTPUT]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["pooled"], [OUTPUT]))
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "pooling",
        [
            helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "sequence", width]),
            helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "sequence"]),
        ],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", width * len(pooling.modes)])],
        [numpy_helper.from_array(array, name) for name, array in constants.items() if name in used],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", opset)])


def _cls() -> list[onnx.NodeProto]:
    return [helper.make_node("Gather", ["last_hidden_state", "first"], ["cls"], axis=1)]


def _max() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Equal", ["attention_mask", "zero"], ["is_padding"]),
        helper.make_node("Unsqueeze", ["is_padding", "width_axis"], ["is_padding_3d"]),
        helper.make_node("Where", ["is_padding_3d", "lowest", "last_hidden_state"], ["unpadded"]),
        helper.make_node("ReduceMax", ["unpadded", "sequence_axis"], ["max"], keepdims=0),
    ]


def _mean() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", ["attention_mask"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights", "width_axis"], ["weights_3d"]),
        helper.make_node("Mul", ["last_hidden_state", "weights_3d"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "sequence_axis"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["weights", "sequence_axis"], ["count"], keepdims=1),
        helper.make_node("Max", ["count", "smallest_count"], ["safe_count"]),
        helper.make_node("Div", ["total", "safe_count"], ["mean"]),
    ]


_MODES = {"cls": _cls, "max": _max, "mean": _mean}


def _modes(path: Path) -> tuple[str, ...]:
    config = _read(path)
    if not isinstance(config, dict):
        raise InvalidInput(f"'{path}' is not a pooling's config")
    asked = [name for name, is_on in config.items() if name.startswith("pooling_mode_") and is_on]
    unknown = [name for name in asked if name not in MODES]
    if unknown or not asked:
        raise Unsupported(f"'{path}' asks for {', '.join(unknown) or 'no pooling'}; known are {', '.join(MODES)}")
    return tuple(mode for name, mode in MODES.items() if name in asked)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"'{path}' cannot be read: {error}") from error
