"""TensorFlow: SavedModel folders through ``tf2onnx.convert``, which runs in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import onnx
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from mlserve.errors import InvalidInput, NotFound, Unsupported, UsageError
from mlserve.export.exporter import Arrays, Conversion, Request
from mlserve.export.naming import name_axes, number_values, rename_inputs, rename_outputs
from mlserve.export.quieting import foreign_output
from mlserve.graph.document import load_graph

MAX_OPSET = 18
"""The newest opset that tf2onnx writes."""

SIGNATURE = "serving_default"
MADE_UP_ROWS = 8
MADE_UP_LENGTH = 6

_TOOLS = ("tensorflow", "tensorflow-cpu", "tf2onnx", "onnx", "onnxruntime", "onnxruntime-gpu")
_REACHING_OUT = frozenset(
    ("ReadFile", "WriteFile", "MatchingFiles", "WholeFileReaderV2", "PyFunc", "PyFuncStateless", "EagerPyFunc")
)
"""Operators of a SavedModel that touch files or run Python: a graph is a program."""
_ADVICE = "leave that out of the exported function; strings and tables belong to what is done before"
_FAILURES = (ValueError, TypeError, KeyError, LookupError, RuntimeError, AttributeError, OSError, tf.errors.OpError)


class TensorflowExporter:
    """Folders that ``tf.saved_model.save`` or ``model.export`` of Keras wrote."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[tuple[str, ...]] = ()

    def convert(self, request: Request) -> Conversion:
        """The graph of the signature ``serving_default``, or of the only one that there is.

        Raises NotFound, UsageError, InvalidInput for a folder that cannot be read, Unsupported for operators that
        tf2onnx does not know.
        """
        if request.dynamic is not None:
            raise UsageError("the axes of a SavedModel are those of its signature", hint="leave out --dynamic")
        folder = Path(request.source)
        operators = set(_operators(folder))
        if (found := sorted(operators & _REACHING_OUT)) and not request.allow_pickle:
            raise UsageError(
                f"'{folder}' uses {', '.join(found)}, which reach files or Python of whoever runs it",
                hint="--allow-pickle if you trust where it comes from",
            )
        name, signature = _signature(folder)
        graph = _converted(folder, name, min(request.opset, MAX_OPSET))
        specs = dict(signature.structured_input_signature[1])
        rename_inputs(graph, [value.name.partition(":")[0] for value in graph.graph.input])
        names = rename_outputs(graph, [value.name.partition(":")[0] for value in graph.graph.output])
        outputs = [name.removesuffix("_out") if name not in signature.structured_outputs else name for name in names]
        number_values(graph)
        _forget_numbers(graph)
        name_axes(graph)
        return Conversion(
            graph,
            _original(signature, specs, dict(zip(names, outputs, strict=True))),
            _TOOLS,
            example=_made_up(specs),
        )


def _operators(folder: Path) -> Iterator[str]:
    """The kinds of operators in the graphs and functions of the SavedModel."""
    path = folder / "saved_model.pb"
    if not path.is_file():
        raise NotFound(f"no file '{path}'", hint="give the folder that tf.saved_model.save wrote")
    try:
        document = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except DecodeError as error:
        raise InvalidInput(f"'{path}' is cut short or not a SavedModel", hint="copy the whole folder again") from error
    if not document.meta_graphs:
        raise InvalidInput(f"'{path}' holds no graph", hint="copy the whole folder again")
    for meta in document.meta_graphs:
        yield from (node.op for node in meta.graph_def.node)
        yield from (node.op for function in meta.graph_def.library.function for node in function.node_def)


def _signature(folder: Path) -> tuple[str, Any]:
    try:
        with foreign_output():
            signatures = dict(tf.saved_model.load(str(folder)).signatures)
    except _FAILURES as error:
        fact = str(error).strip().split("\n")[0]
        raise InvalidInput(
            f"'{folder}' is not a SavedModel that can be read here: {fact[:300]}", hint="copy the whole folder again"
        ) from error
    if SIGNATURE in signatures:
        return SIGNATURE, signatures[SIGNATURE]
    if len(signatures) != 1:
        raise InvalidInput(
            f"'{folder}' has the signatures {', '.join(sorted(signatures)) or '(none)'}, and no '{SIGNATURE}'",
            hint="save it with tf.saved_model.save(model, folder, signatures=function)",
        )
    return next(iter(signatures.items()))


def _converted(folder: Path, signature: str, opset: int) -> onnx.ModelProto:
    with TemporaryDirectory() as place:
        out = Path(place) / "model.onnx"
        words = ["--saved-model", str(folder), "--signature_def", signature, "--opset", str(opset)]
        done = subprocess.run(
            [sys.executable, "-m", "tf2onnx.convert", *words, "--output", str(out)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ
            | {"PYTHONHASHSEED": "0"},  # it goes through sets: the order of names would be another each time
        )
        if done.returncode or not out.is_file():
            raise Unsupported(
                f"tf2onnx cannot convert '{folder}': {_last_fact(done.stderr)}",
                hint=_ADVICE,
            )
        graph = load_graph(out)
    # What it does not know it passes on under TensorFlow's name.
    if unknown := sorted({node.op_type for node in graph.graph.node if not onnx.defs.has(node.op_type, node.domain)}):
        raise Unsupported(f"tf2onnx cannot convert '{folder}': ONNX has no {', '.join(unknown)}", hint=_ADVICE)
    return graph


def _last_fact(log: str) -> str:
    """The line that names the error, out of TensorFlow's log."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    named = [line for line in lines if "not supported" in line or "Error" in line.split(":")[0]]
    return ((named or lines or ["it gave no reason"])[-1])[:300]


def _forget_numbers(graph: onnx.ModelProto) -> None:
    """Take away the numbers of unknown lengths on axis 0: tf2onnx gives each a new one, and they are the batch."""
    for value in (*graph.graph.input, *graph.graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].dim_param.startswith("unk__"):
            dims[0].Clear()


def _original(
    signature: Any, specs: dict[str, Any], outputs: dict[str, str]
) -> Callable[[Arrays], dict[str, np.ndarray[Any, Any]]]:
    def predict(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        try:
            given = signature(**{name: tf.constant(inputs[name], dtype=spec.dtype) for name, spec in specs.items()})
        except _FAILURES as error:
            fact = str(error).strip().split("\n")[0]
            raise InvalidInput(f"the model refuses these inputs: {fact[:300]}") from error
        return {name: np.asarray(given[original].numpy()) for name, original in outputs.items()}

    return predict


def _made_up(specs: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Standard normal rows, and small whole numbers, in the shapes of the signature."""
    rng = np.random.default_rng(0)
    made = {}
    for name, spec in specs.items():
        lengths = [MADE_UP_LENGTH if length is None else length for length in spec.shape.as_list()]
        if lengths and spec.shape[0] is None:
            lengths[0] = MADE_UP_ROWS
        kind = spec.dtype.as_numpy_dtype
        values = rng.normal(size=lengths) if spec.dtype.is_floating else rng.integers(0, 2, lengths)
        made[name] = np.asarray(values).astype(kind)
    return made
