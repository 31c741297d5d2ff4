"""The seam's ``Answer`` → the body of a reply: JSON, or JSON followed by blobs."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import orjson

from mlserve.core.dtypes import DType
from mlserve.core.tensors import TensorSpec
from mlserve.serving.oip.blobs import blob_of
from mlserve.serving.oip.classification import best_classes
from mlserve.serving.oip.decoding import Wish
from mlserve.serving.oip.plans import Plan, plan_of
from mlserve.serving.oip.texts import array_text, joined, row_texts, whole_text
from mlserve.serving.seam import Answer, AnswerTensor


class Encoded(msgspec.Struct, gc=False):
    """A body: ``json``, then ``blobs`` in the order of their outputs; None where nothing follows the JSON.

    That is also so where all blobs are of no bytes, as with Triton: such a body is JSON like any other.
    """

    json: bytes
    blobs: list[bytes | memoryview] | None


def encode_plain(answer: Answer) -> bytes:
    """The body for ``answer`` where no id was sent and no output is a blob: what nearly every reply is."""
    if answer.names is None and answer.stop is not None and answer.length is None:
        return _plain_rows(answer, answer.stop)
    return _any(answer, None, None).json


def encode_answer(answer: Answer, id: str | None, wish: Wish | None) -> Encoded:
    """The body for ``answer``. ``id`` is given back where one was sent; ``wish`` says which outputs are blobs."""
    return Encoded(encode_plain(answer), None) if wish is None and id is None else _any(answer, id, wish)


def _plain_rows(answer: Answer, stop: int) -> bytes:
    """All outputs of a row range as JSON: the frame of so many rows, and the text of each output in its gaps."""
    batch = answer.batch
    rows = stop - answer.start
    cached: tuple[tuple[bytes, ...], list[list[bytes]]] | None = batch.cache.get(rows)
    if cached is None:
        plan = plan_of(batch.view)
        outputs = batch.view.signature.outputs
        shapes = tuple((rows, *batch.arrays[spec.name].shape[1:]) for spec in outputs)
        frame = plan.frames.get(shapes) or plan.remember(shapes, _frame(plan, outputs, shapes))
        cached = batch.cache[rows] = frame, [row_texts(batch, spec.name, spec.dtype) for spec in outputs]
    frame, texts = cached
    if rows == 1 and len(texts) == 1:
        return b"%b%b%b" % (frame[0], texts[0][answer.start], frame[1])
    parts: list[bytes] = []
    for opening, output in zip(frame, texts, strict=False):
        parts += (opening, joined(output[answer.start : stop]))
    parts.append(frame[-1])
    return b"".join(parts)


def _frame(plan: Plan, outputs: tuple[TensorSpec, ...], shapes: tuple[tuple[int, ...], ...]) -> tuple[bytes, ...]:
    """The constant text before each output's data, and after the last."""
    opening = plan.prefix + b',"outputs":['
    frame: list[bytes] = []
    for spec, shape in zip(outputs, shapes, strict=True):
        described = orjson.dumps({"name": spec.name, "datatype": spec.dtype.served, "shape": shape})
        frame.append(opening + described[:-1] + b',"data":[')
        opening = b"]},"
    return (*frame, b"]}]}")


def _any(answer: Answer, id: str | None, wish: Wish | None) -> Encoded:
    plan = plan_of(answer.batch.view)
    blobs: list[bytes | memoryview] = []
    outputs: list[bytes] = []
    for tensor in answer.outputs:
        count = None if wish is None or wish.classes is None else wish.classes.get(tensor.name)
        is_blob = wish is not None and (wish.all_binary or tensor.name in wish.binary)
        if count is not None:
            array, dtype = classes_of(tensor, count), DType.STRING
        else:
            array, dtype = None, tensor.dtype
        described: dict[str, Any] = {
            "name": tensor.name,
            "datatype": dtype.served,
            "shape": tensor.shape if array is None else array.shape,
        }
        if is_blob:
            blob = blob_of(tensor.array() if array is None else array, dtype)
            blobs.append(blob)
            outputs.append(orjson.dumps(described | {"parameters": {"binary_data_size": len(blob)}}))
        else:
            text = text_of(tensor) if array is None else orjson.dumps(array.ravel().tolist())[1:-1]
            outputs.append(orjson.dumps(described)[:-1] + b',"data":[' + text + b"]}")
    given_back = b"" if id is None else b',"id":' + orjson.dumps(id)
    text = b"%b%b%b%b]}" % (plan.prefix, given_back, b',"outputs":[', b",".join(outputs))
    return Encoded(text, blobs if any(map(len, blobs)) else None)


def classes_of(tensor: AnswerTensor, count: int) -> np.ndarray[Any, Any]:
    """The ``count`` best classes of one output, with the labels that the version has for it."""
    view = tensor.batch.view
    return best_classes(tensor.array(), count, view.labels.get(tensor.name, ()), is_batched=view.is_batchable)


def text_of(tensor: AnswerTensor) -> bytes:
    """The elements of one output as JSON, separated by commas, without brackets."""
    if tensor.length is not None:
        return array_text(tensor.array(), tensor.dtype)
    if tensor.stop is None:
        return whole_text(tensor.batch, tensor.name, tensor.dtype)
    return joined(row_texts(tensor.batch, tensor.name, tensor.dtype)[tensor.start : tensor.stop])
