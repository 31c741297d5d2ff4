"""Requests of the gRPC inference protocol out of arrays, and what its replies say."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.message import DecodeError

from mlserve.bench.asking import Arrays, blob_of
from mlserve.bench.messages import is_same_blob
from mlserve.core.dtypes import DType, from_oip
from mlserve.core.tensors import Dim, Signature, TensorSpec
from mlserve.errors import Unavailable
from mlserve.protocol.messages import INFERENCE, SERVICE

INFER = f"/{SERVICE}/ModelInfer"
METADATA = f"/{SERVICE}/ModelMetadata"


def infer_request(model: str, version: str, arrays: Arrays, dtypes: Mapping[str, DType]) -> bytes:
    """A ModelInferRequest with raw contents."""
    request = INFERENCE["ModelInferRequest"](model_name=model, model_version=version)
    for name, array in arrays.items():
        request.inputs.add(name=name, datatype=dtypes[name].served, shape=array.shape)
        request.raw_input_contents.append(blob_of(array))
    content: bytes = request.SerializeToString()
    return content


def metadata_request(model: str, version: str) -> bytes:
    """A ModelMetadataRequest."""
    content: bytes = INFERENCE["ModelMetadataRequest"](name=model, version=version).SerializeToString()
    return content


def signature_of(metadata: bytes) -> tuple[Signature, str | None]:
    """What a ModelMetadataResponse says the model takes and gives, and the digest among its properties, if any.

    Raises Unavailable for what is none.
    """
    try:
        read = INFERENCE["ModelMetadataResponse"].FromString(metadata)
    except DecodeError as error:
        raise Unavailable("the answer to ModelMetadata is none of the Open Inference Protocol") from error
    inputs, outputs = (
        tuple(TensorSpec(one.name, from_oip(one.datatype), _dims(one.shape)) for one in side)
        for side in (read.inputs, read.outputs)
    )
    return Signature(inputs, outputs), dict(read.properties).get("digest") or None


def is_same_response(expected: bytes, actual: bytes) -> bool:
    """Whether two ModelInferResponses say the same but for rounding."""
    try:
        one, other = (INFERENCE["ModelInferResponse"].FromString(content) for content in (expected, actual))
    except DecodeError:
        return False
    blobs = [list(response.raw_output_contents) for response in (one, other)]
    for response in (one, other):
        del response.raw_output_contents[:]
    if one != other or len(blobs[0]) != len(blobs[1]) or len(blobs[0]) > len(one.outputs):
        return False
    pairs = zip(one.outputs, *blobs, strict=False)
    return all(is_same_blob(output.datatype, wanted, found) for output, wanted, found in pairs)


def _dims(shape: list[int]) -> tuple[Dim, ...]:
    return tuple(("batch" if axis == 0 else None) if length < 0 else length for axis, length in enumerate(shape))
