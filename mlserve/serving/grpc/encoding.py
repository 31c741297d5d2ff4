"""The seam's ``Answer`` → the bytes of a ``ModelInferResponse``, tensors always raw.

Everything but the id and the tensors' bytes is the same for all answers of so many rows of a version: it is made once a
batch, and the rest is put behind it by hand. Protobuf's fields may stand in any order.
"""

from __future__ import annotations

import numpy as np

from mlserve.core.dtypes import DType
from mlserve.protocol.messages import InferResponseMessage
from mlserve.protocol.wire import delimited, tag, varint
from mlserve.serving.oip.blobs import blob_of
from mlserve.serving.oip.encoding import classes_of
from mlserve.serving.seam import Answer

_ID = 3
_RAW = tag(6)
_PART = 2
_ERROR = 1
FINAL = "triton_final_response"


def encode_infer(answer: Answer, id: str, classes: dict[str, int] | None) -> bytes:
    """The message for ``answer``; ``id`` is given back where one was sent."""
    if classes is not None:
        return _with_classes(answer, id, classes)
    pieces = [_frame(answer)]
    if id:
        pieces.append(delimited(_ID, id.encode()))
    for tensor in answer.outputs:
        array = tensor.array()
        if tensor.dtype is DType.STRING:
            raw: bytes | memoryview = blob_of(array, tensor.dtype)
        else:
            raw = array.tobytes()
        pieces += (_RAW, varint(len(raw)), raw)  # type: ignore[arg-type]  # bytes.join takes views too
    return b"".join(pieces)


def stream_part(response: bytes) -> bytes:
    """A response as one part of a stream."""
    return delimited(_PART, response)


def unfinished_part(response: bytes) -> bytes:
    """As ``stream_part``, and it says that more comes: clients take a part that says nothing for the last one."""
    return stream_part(response + _UNFINISHED)


def stream_error(sentence: str, id: str) -> bytes:
    """An error as one part of a stream; the response beside it says whose it is."""
    part = delimited(_ERROR, sentence.encode())
    return part + stream_part(delimited(_ID, id.encode())) if id else part


def empty_final(model: str, version: str, id: str) -> bytes:
    """The part that says that no more comes for the request ``id``."""
    message = InferResponseMessage(model_name=model, model_version=version, id=id)
    message.parameters[FINAL].bool_param = True
    return stream_part(message.SerializeToString())


def _unfinished() -> bytes:
    message = InferResponseMessage()
    message.parameters[FINAL].bool_param = False
    serialized: bytes = message.SerializeToString()
    return serialized


_UNFINISHED = _unfinished()


def _frame(answer: Answer) -> bytes:
    """Model, version, and each output's name, type and shape."""
    batch = answer.batch
    rows = None if answer.stop is None else answer.stop - answer.start
    key = ("grpc", rows, answer.names, answer.length)
    frame: bytes | None = batch.cache.get(key)
    if frame is None:
        message = InferResponseMessage(model_name=answer.model, model_version=answer.version)
        for tensor in answer.outputs:
            message.outputs.add(name=tensor.name, datatype=tensor.dtype.served, shape=tensor.shape)
        frame = batch.cache[key] = message.SerializeToString()
    return frame


def _with_classes(answer: Answer, id: str, classes: dict[str, int]) -> bytes:
    message = InferResponseMessage(model_name=answer.model, model_version=answer.version, id=id)
    for tensor in answer.outputs:
        count = classes.get(tensor.name)
        array, dtype = (tensor.array(), tensor.dtype) if count is None else (classes_of(tensor, count), DType.STRING)
        message.outputs.add(name=tensor.name, datatype=dtype.served, shape=array.shape)
        message.raw_output_contents.append(bytes(blob_of(np.asarray(array), dtype)))
    serialized: bytes = message.SerializeToString()
    return serialized
