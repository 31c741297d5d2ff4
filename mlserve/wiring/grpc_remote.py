"""A model behind a gRPC server of the Open Inference Protocol: what it takes, and the answers that it gives alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from mlserve.bench import http2
from mlserve.bench.grpc_messages import INFER, METADATA, metadata_request, signature_of
from mlserve.bench.messages import Message
from mlserve.core.tensors import Signature
from mlserve.errors import (
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    MlserveError,
    NotFound,
    Overloaded,
    Unauthenticated,
    Unavailable,
    Unsupported,
    UsageError,
)

SCHEME = "grpc://"
TIMEOUT_S = 60.0
_ERRORS: dict[str, type[MlserveError]] = {
    "INVALID_ARGUMENT": InvalidInput,
    "NOT_FOUND": NotFound,
    "RESOURCE_EXHAUSTED": Overloaded,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "UNIMPLEMENTED": Unsupported,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": Forbidden,
}


class GrpcModel:
    """One model of one server, at ``grpc://HOST:PORT/NAME[/VERSION]``; ``metadata`` goes with every call.

    Raises UsageError for another form.
    """

    def __init__(self, target: str, metadata: Mapping[str, str] | None = None) -> None:
        import grpc

        self.host, self.port, self.model, self.version = parse_grpc(target)
        self._metadata = list((metadata or {}).items())
        self._where = f"{self.host}:{self.port}"
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.insecure_channel(self._where, options)

    def close(self) -> None:
        self._channel.close()

    def signature(self) -> tuple[Signature, str | None]:
        """What the model takes and gives, and its digest where the server says it. Raises NotFound, Unavailable."""
        return signature_of(self._call(METADATA, metadata_request(self.model, self.version)))

    def learn(self, requests: Sequence[bytes]) -> list[Message]:
        """Each request with the answer that it gets alone. Raises what the server answers instead."""
        return [
            Message(http2.message_of(request), http2.message_of(self._call(INFER, request))) for request in requests
        ]

    def _call(self, method: str, request: bytes) -> bytes:
        import grpc

        try:
            answer: Any = self._channel.unary_unary(method)(request, timeout=TIMEOUT_S, metadata=self._metadata)
        except grpc.RpcError as error:
            code, details = error.code().name, error.details()
            raise _ERRORS.get(code, Unavailable)(f"{self._where} answered {code}: {details}") from error
        return bytes(answer)


def parse_grpc(target: str) -> tuple[str, int, str, str]:
    """Host, port, model and version ("" for none) of a gRPC target. Raises UsageError.

    >>> parse_grpc("grpc://127.0.0.1:8001/fraud/2")
    ('127.0.0.1', 8001, 'fraud', '2')
    """
    try:
        parts = urlsplit(target)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    words = [unquote(word) for word in target.removeprefix(SCHEME).split("/")[1:] if word]
    if not host or not port or len(words) not in (1, 2):
        raise UsageError(f"'{target}' is not the address of a model", hint="such as grpc://127.0.0.1:8001/fraud")
    return host, port, words[0], words[1] if len(words) == 2 else ""
