"""Transformers from a folder: config.json, weights and tokenizer as ``save_pretrained`` leaves them, through optimum.

    folder ── loading ──► Checkpoint ── graph (optimum) ──► model ─┬─────────────────────────────► graph
                                                                  ├─ + pooling ─────────────────► sentence_embedding
                                       tokenizer ── wordpiece ────┴─ before it (with --text) ───► takes ``text``

The parts are joined as ``compose`` joins them. What they are compared with is transformers itself: its tokenizer, its
module, and sentence-transformers' pooling.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any, ClassVar

import numpy as np
import onnx
import torch

from mlserve.errors import InvalidInput, Unsupported, UsageError
from mlserve.export.exporter import Arrays, Conversion, Request
from mlserve.export.naming import rename_outputs
from mlserve.export.quieting import converter_output
from mlserve.export.tokenizing import Tokenizing, read_tokenizing
from mlserve.export.transformers_examples import encoder_example, past_cases, past_example, texts
from mlserve.export.transformers_graph import to_graph
from mlserve.export.transformers_loading import LOGGERS, Checkpoint, load_checkpoint
from mlserve.export.transformers_pooling import OUTPUT, pool, pooling_graph
from mlserve.graph.composing import compose, plan_seams, signatures_of
from mlserve.graph.signature import read_signature

_TOOLS = ("optimum-onnx", "transformers", "torch", "onnx", "onnxruntime", "onnxruntime-gpu")
Run = Callable[[Arrays], dict[str, np.ndarray[Any, Any]]]


class TransformersExporter:
    """Folders with a config.json: encoders with and without pooling, classifiers, decoders with their past."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[tuple[str, ...]] = ()

    def convert(self, request: Request) -> Conversion:
        """The graph of a folder for the task that it is for, or that was asked for.

        Raises NotFound, UsageError, InvalidInput for a folder that is incomplete or damaged, Unsupported for what
        optimum, or the graph of a tokenizer, does not know.
        """
        if request.dynamic is not None:
            raise UsageError("batch and sequence of a transformer are dynamic already", hint="leave out --dynamic")
        checkpoint = load_checkpoint(request.source, task=request.task, allow_pickle=request.allow_pickle)
        tokenizing = _tokenizing(checkpoint) if request.text else None
        model = to_graph(checkpoint, request.opset)
        names = rename_outputs(model, [value.name for value in model.graph.output])
        parts = [model]
        if checkpoint.pooling is not None:
            parts.append(pooling_graph(checkpoint.pooling, checkpoint.config.hidden_size, request.opset))
            names = [OUTPUT]
        signature = read_signature(model)
        if tokenizing is not None:
            parts.insert(0, tokenizing.graph([spec.name for spec in signature.inputs], request.opset))
        run = _original(checkpoint, names)
        more: dict[str, Any] = {}
        if tokenizing is not None:
            takes = [spec.name for spec in signature.inputs]
            more = {"predict": _on_texts(tokenizing, takes, run), "example": {tokenizing.input: texts()}}
        elif checkpoint.task.has_past:
            more = {
                "predict": run,
                "example": past_example(signature, checkpoint.config),
                "cases": past_cases(signature, checkpoint.config),
            }
        else:
            more = {"predict": run, "example": encoder_example(signature, checkpoint.config)}
        tools = (*_TOOLS, "tokenizers", "onnxruntime-extensions") if tokenizing else _TOOLS
        return Conversion(_joined(parts), tools=tools, properties=_properties(checkpoint, tokenizing), **more)


def _tokenizing(checkpoint: Checkpoint) -> Tokenizing:
    if checkpoint.task.name == "feature-extraction" and checkpoint.pooling is None:
        raise Unsupported(
            f"'{checkpoint.folder}' has an answer for each token, and nothing that makes one of a text",
            hint="a folder of sentence-transformers says so in modules.json; without it leave out --text",
        )
    if checkpoint.task.name not in ("feature-extraction", "text-classification"):
        raise Unsupported(
            f"{checkpoint.task.name} answers by the token, so its tokens must be known to who asks",
            hint="leave out --text",
        )
    return read_tokenizing(checkpoint)


def _joined(parts: list[onnx.ModelProto]) -> onnx.ModelProto:
    return parts[0] if len(parts) == 1 else compose(parts, plan_seams(signatures_of(parts), {}))


def _original(checkpoint: Checkpoint, names: list[str]) -> Run:
    """transformers' module, and the pooling behind it, as a function of the graph's inputs."""

    def predict(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        tensors = {name: torch.tensor(np.asarray(array)) for name, array in inputs.items()}
        try:
            with torch.no_grad(), converter_output(*LOGGERS):
                answer = checkpoint.model(**_with_cache(checkpoint, tensors), return_dict=True)
                leaves = _leaves(checkpoint, answer, tensors)
        except (RuntimeError, ValueError, IndexError, KeyError, TypeError) as error:
            fact = str(error).strip().split("\n")[0]
            raise InvalidInput(f"the model refuses these inputs: {type(error).__name__}: {fact}") from error
        return {name: leaf.numpy() for name, leaf in zip(names, leaves, strict=True)}

    return predict


def _with_cache(checkpoint: Checkpoint, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    """``tensors`` with keys and values of the past gathered into what the module takes."""
    if not checkpoint.task.has_past:
        return dict(tensors)
    from transformers import DynamicCache

    cache = DynamicCache()
    layers = sum(name.endswith(".key") for name in tensors)
    for layer in range(layers):
        key, value = (tensors[f"past_key_values.{layer}.{kind}"] for kind in ("key", "value"))
        cache.update(key, value, layer)
    rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("past_key_values.")}
    return {**rest, "past_key_values": cache, "use_cache": True}


def _leaves(checkpoint: Checkpoint, answer: Any, tensors: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """The tensors of ``answer`` in the order of the graph's outputs."""
    if checkpoint.task.has_past:
        return [
            answer.logits,
            *(leaf for layer in answer.past_key_values.layers for leaf in (layer.keys, layer.values)),
        ]
    if checkpoint.task.name != "feature-extraction":
        return [answer.logits]
    if checkpoint.pooling is None:
        return [answer.last_hidden_state]
    return [pool(checkpoint.pooling, answer.last_hidden_state, tensors["attention_mask"])]


def _on_texts(tokenizing: Tokenizing, takes: Collection[str], run: Run) -> Run:
    def predict(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        tokens = tokenizing.tokenize([str(text) for text in inputs[tokenizing.input]])
        return run({name: array for name, array in tokens.items() if name in takes})

    return predict


def _properties(checkpoint: Checkpoint, tokenizing: Tokenizing | None) -> dict[str, str]:
    """What whoever asks the graph has to know, and cannot see in it."""
    properties = {"mlserve.task": checkpoint.task.name}
    if checkpoint.pooling is not None:
        properties["mlserve.pooling"] = str(checkpoint.pooling)
    if checkpoint.task.name.endswith("classification"):
        labels = checkpoint.config.id2label
        properties["mlserve.labels"] = json.dumps([labels[number] for number in sorted(labels)])
    if tokenizing is not None:
        properties["mlserve.max_tokens"] = str(tokenizing.max_tokens)
    return properties
