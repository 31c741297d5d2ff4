"""Errors → gRPC's status codes; only our own are told to a client."""

from __future__ import annotations

import logging

import grpc

from mlserve.errors import MlserveError
from mlserve.serving.oip.documents import sentence_of

SENTENCE_CHARACTERS = 512
"""What a client's own words make longer is cut: gRPC puts an error into headers, of which clients take 8 KiB."""

log = logging.getLogger(__name__)


def status_of(error: Exception, request_id: str) -> tuple[grpc.StatusCode, str]:
    """The code and the sentence for ``error``; a bug of ours is logged under ``request_id`` and not explained."""
    if isinstance(error, MlserveError):
        sentence = sentence_of(error)
        if len(sentence) > SENTENCE_CHARACTERS:
            sentence = sentence[: SENTENCE_CHARACTERS - 1] + "…"
        return grpc.StatusCode[error.grpc_status], sentence.encode("utf-8", "replace").decode()
    log.error("request %s: %s", request_id, error, exc_info=error)
    return grpc.StatusCode.INTERNAL, "internal server error"
