"""Every error that mlserve raises on purpose, and what each of them means to the outside.

MlserveError                     exit  HTTP  gRPC
├── UsageError                     2   400   INVALID_ARGUMENT     the call's words are off
├── InvalidConfig                  3   500   FAILED_PRECONDITION  a setting or a policy file cannot be used
├── NotFound                       4   404   NOT_FOUND            no such model, version, stage, file
├── Conflict                       5   409   ABORTED              exists with other content, or somebody was first
├── MissingExtra                   6   501   UNIMPLEMENTED        an optional package is not installed
├── Unavailable                    8   503   UNAVAILABLE          database, object store or server out of reach
│   ├── Overloaded                 8   429   RESOURCE_EXHAUSTED   the queue is full; come back later
│   └── DeadlineExceeded           8   504   DEADLINE_EXCEEDED    the caller's own time limit has passed
├── Unauthenticated                8   401   UNAUTHENTICATED      no API key, or one that is not known
├── Forbidden                      8   403   PERMISSION_DENIED    a key that may not do this, or nobody may
├── InvalidInput                   9   400   INVALID_ARGUMENT     a file, tensor or model that cannot be used
│   ├── PayloadTooLarge            9   413   RESOURCE_EXHAUSTED   more bytes than the limit allows
│   └── CorruptArtefact            9   500   DATA_LOSS            stored bytes no longer match their digest
└── Unsupported                    9   501   UNIMPLEMENTED        valid, but not offered here

A measured "no" (parity, gate, SLO) is not an error: functions return it, and the command exits with 7.
"""

from __future__ import annotations

__all__ = [
    "Conflict",
    "CorruptArtefact",
    "DeadlineExceeded",
    "Forbidden",
    "InvalidConfig",
    "InvalidInput",
    "MissingExtra",
    "MlserveError",
    "NotFound",
    "Overloaded",
    "PayloadTooLarge",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "UsageError",
]


class MlserveError(Exception):
    """A fact and the user's own value in ``message``; what to type next in ``hint``."""

    exit_code = 1
    http_status = 500
    grpc_status = "INTERNAL"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MlserveError):
    exit_code = 2
    http_status = 400
    grpc_status = "INVALID_ARGUMENT"


class InvalidConfig(MlserveError):
    exit_code = 3
    grpc_status = "FAILED_PRECONDITION"


class NotFound(MlserveError):
    exit_code = 4
    http_status = 404
    grpc_status = "NOT_FOUND"


class Conflict(MlserveError):
    exit_code = 5
    http_status = 409
    grpc_status = "ABORTED"


class MissingExtra(MlserveError):
    exit_code = 6
    http_status = 501
    grpc_status = "UNIMPLEMENTED"


class Unavailable(MlserveError):
    exit_code = 8
    http_status = 503
    grpc_status = "UNAVAILABLE"


class Overloaded(Unavailable):
    """``retry_after_s`` is when there should be room again, None where nobody knows."""

    http_status = 429
    grpc_status = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(Unavailable):
    http_status = 504
    grpc_status = "DEADLINE_EXCEEDED"


class Unauthenticated(MlserveError):
    exit_code = 8
    http_status = 401
    grpc_status = "UNAUTHENTICATED"


class Forbidden(MlserveError):
    exit_code = 8
    http_status = 403
    grpc_status = "PERMISSION_DENIED"


class InvalidInput(MlserveError):
    exit_code = 9
    http_status = 400
    grpc_status = "INVALID_ARGUMENT"


class PayloadTooLarge(InvalidInput):
    http_status = 413
    grpc_status = "RESOURCE_EXHAUSTED"


class CorruptArtefact(InvalidInput):
    http_status = 500
    grpc_status = "DATA_LOSS"


class Unsupported(InvalidInput):
    http_status = 501
    grpc_status = "UNIMPLEMENTED"
