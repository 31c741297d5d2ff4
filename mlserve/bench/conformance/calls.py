"""The gRPC side of a server, called as its clients do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from mlserve.bench.conformance.tensors import Tensor, numpy_type, read_raw
from mlserve.bench.conformance.verdicts import RuleBroken
from mlserve.core.dtypes import DType
from mlserve.protocol.messages import (
    HEALTH,
    HEALTH_SERVICE,
    INFERENCE,
    REFLECTION,
    SERVICE,
    InferRequestMessage,
    InferResponseMessage,
    StreamResponseMessage,
)

Metadata = Sequence[tuple[str, str]]

_CONTENTS = {
    DType.BOOL: "bool_contents",
    DType.INT8: "int_contents",
    DType.INT16: "int_contents",
    DType.INT32: "int_contents",
    DType.INT64: "int64_contents",
    DType.UINT8: "uint_contents",
    DType.UINT16: "uint_contents",
    DType.UINT32: "uint_contents",
    DType.UINT64: "uint64_contents",
    DType.FLOAT32: "fp32_contents",
    DType.FLOAT64: "fp64_contents",
    DType.STRING: "bytes_contents",
}


@dataclass(frozen=True, slots=True)
class Refused(Exception):
    """A call that ended with a status other than OK."""

    status: str
    sentence: str


class GrpcPort:
    """A channel to a server. ``metadata`` goes with every call: an API key, say."""

    def __init__(
        self, address: str, metadata: Metadata = (), ca_file: str | None = None, timeout_s: float = 10.0
    ) -> None:
        self.address = address
        self._metadata = list(metadata)
        self._timeout_s = timeout_s
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        secure = address.startswith("grpcs://") or ca_file is not None
        target = address.removeprefix("grpcs://").removeprefix("grpc://")
        roots = Path(ca_file).read_bytes() if ca_file else None
        self._channel = (
            grpc.secure_channel(target, grpc.ssl_channel_credentials(roots), options)
            if secure
            else grpc.insecure_channel(target, options)
        )

    def close(self) -> None:
        self._channel.close()

    def call(self, method: str, metadata: Metadata = (), **fields: Any) -> Any:
        """The response message of one of the protocol's methods. Raises Refused."""
        request = INFERENCE[f"{method}Request"](**fields)
        return self._unary(
            f"/{SERVICE}/{method}", request.SerializeToString(), INFERENCE[f"{method}Response"], metadata
        )

    def raw_call(self, method: str, request: bytes) -> None:
        """A call with any bytes and any method. Raises Refused."""
        self._unary(f"/{SERVICE}/{method}", request, InferResponseMessage, ())

    def infer(self, request: Any, metadata: Metadata = ()) -> Any:
        """The response to an infer request message. Raises Refused."""
        return self._unary(f"/{SERVICE}/ModelInfer", request.SerializeToString(), InferResponseMessage, metadata)

    def stream(self, requests: Iterable[Any], metadata: Metadata = ()) -> list[Any]:
        """The responses on a stream of ``requests`` until the server ends it. Raises Refused."""
        method = self._channel.stream_stream(
            f"/{SERVICE}/ModelStreamInfer",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=StreamResponseMessage.FromString,
        )
        try:
            return list(method(iter(list(requests)), timeout=self._timeout_s, metadata=[*self._metadata, *metadata]))
        except grpc.RpcError as error:
            raise _refused(error) from None

    def health(self, service: str) -> str:
        """What ``grpc.health.v1`` says of a service. Raises Refused."""
        request = HEALTH["HealthCheckRequest"](service=service).SerializeToString()
        found = self._unary(f"/{HEALTH_SERVICE}/Check", request, HEALTH["HealthCheckResponse"], ())
        return ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")[found.status]

    def services(self) -> list[str]:
        """What reflection lists, by the first of its versions that is there. Raises Refused."""
        refusal: Refused | None = None
        for service, messages in REFLECTION.items():
            method = self._channel.stream_stream(
                f"/{service}/ServerReflectionInfo",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=messages["ServerReflectionResponse"].FromString,
            )
            request = messages["ServerReflectionRequest"](list_services="*")
            try:
                (found,) = method(iter([request]), timeout=self._timeout_s, metadata=self._metadata)
            except grpc.RpcError as error:
                refusal = _refused(error)
            else:
                return [one.name for one in found.list_services_response.service]
        raise refusal or Refused("UNIMPLEMENTED", "no reflection")

    def _unary(self, method: str, request: bytes, response: Any, metadata: Metadata) -> Any:
        call = self._channel.unary_unary(method, request_serializer=None, response_deserializer=response.FromString)
        try:
            return call(request, timeout=self._timeout_s, metadata=[*self._metadata, *metadata])
        except grpc.RpcError as error:
            raise _refused(error) from None


def infer_message(model: str, tensors: Sequence[Tensor], typed: bool = False, **more: Any) -> Any:
    """An infer request with raw contents, or with typed ones where ``typed``."""
    message = InferRequestMessage(model_name=model, **more)
    for tensor in tensors:
        entry = message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if typed:
            contents_of(tensor, entry)
        else:
            message.raw_input_contents.append(tensor.raw())
    return message


def contents_of(tensor: Tensor, entry: Any) -> None:
    """Write the values of ``tensor`` as typed contents of its ``entry``."""
    field = _CONTENTS[numpy_type(tensor.datatype)]
    getattr(entry.contents, field).extend(tensor.values.reshape(-1).tolist())


def is_typed(datatype: str) -> bool:
    """Whether typed contents have a field for the datatype: FP16 and BF16 have none."""
    return numpy_type(datatype) in _CONTENTS


def response_outputs(response: Any) -> list[Tensor]:
    """The outputs of a response, raw or typed. Raises RuleBroken where contents and outputs do not go together."""
    outputs, blobs = list(response.outputs), list(response.raw_output_contents)
    if not blobs:
        return [_typed(one) for one in outputs]
    if len(outputs) != len(blobs):
        raise RuleBroken(f"{len(outputs)} outputs with {len(blobs)} raw contents")
    return [read_raw(one.name, one.datatype, list(one.shape), blob) for one, blob in zip(outputs, blobs, strict=True)]


def _typed(output: Any) -> Tensor:
    """An output with its typed contents. Raises RuleBroken."""
    dtype = numpy_type(output.datatype)
    found = list(getattr(output.contents, _CONTENTS.get(dtype, "bytes_contents")))
    if len(found) != prod(output.shape):
        raise RuleBroken(f"output '{output.name}' is of shape {list(output.shape)} and has {len(found)} elements")
    values = np.empty(len(found), dtype=object)
    values[:] = found
    whole = values if dtype is DType.STRING else values.astype(dtype.numpy)
    return Tensor(output.name, output.datatype, whole.reshape(output.shape))


def _refused(error: Any) -> Refused:
    return Refused(error.code().name, error.details() or "")
