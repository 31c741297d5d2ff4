"""What every call has in common: its id, its metadata, who may make it, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from itertools import count
from typing import Any, Literal

from mlserve.core.request_ids import told_id
from mlserve.errors import MlserveError
from mlserve.serving.grpc.statuses import status_of
from mlserve.serving.observing import reason_of
from mlserve.serving.seam import Answer, InferRequest

REQUEST_ID = "mlserve-request-id"
UNIT_KEY = "mlserve-unit-key"
RECEIPT = "mlserve-receipt"

Scope = Literal["infer", "manage"]

Authorize = Callable[[Scope, Mapping[str, str]], None]
"""Takes what the call wants to do and its metadata; raises what the client is to be told if it may not."""


class Calls:
    """Makes calls. ``prefix`` is the process's own, for ids that no client gave; ``refused`` counts by gRPC code."""

    def __init__(self, prefix: str, authorize: Authorize | None = None) -> None:
        self._prefix = prefix
        self._authorize = authorize
        self._numbers = count(1)
        self.refused: dict[int, int] = {}
        self.failures: dict[tuple[str, str], int] = {}

    def begin(self, context: Any) -> Call:
        return Call(self, context)

    def note_failure(self, model: str, error: Exception) -> None:
        """Count what a call failed for; ``model`` is "" where there is none of the name it gave."""
        key = model, reason_of(error)
        self.failures[key] = self.failures.get(key, 0) + 1

    def next_id(self) -> str:
        return f"{self._prefix}-{next(self._numbers):x}"

    def check(self, scope: Scope, metadata: Mapping[str, str]) -> None:
        """Raises what the client is to be told if it may not make this call."""
        if self._authorize is not None:
            self._authorize(scope, metadata)


class Call:
    """One call. Its id is the client's own, from the metadata or the message, or one made here.

    ``model``, ``answer`` and ``status``, in HTTP's numbers, are what is known of it so far.
    """

    __slots__ = ("_calls", "_context", "_id", "_metadata", "answer", "model", "status", "wants_receipt")

    def __init__(self, calls: Calls, context: Any) -> None:
        self._calls = calls
        self._context = context
        self._metadata = metadata_of(context)
        self._id = told_id(self._metadata.get(REQUEST_ID, ""))
        self.model = ""
        self.answer: Answer | None = None
        self.status = HTTPStatus.OK.value
        self.wants_receipt = self._metadata.get(RECEIPT) in ("1", "true")

    @property
    def id(self) -> str:
        if not self._id:
            self._id = self._calls.next_id()
        return self._id

    def name(self, id: str) -> None:
        """Take the message's own id where the metadata has none."""
        if not self._id and id:
            self._id = told_id(id)

    def check(self, scope: Scope) -> None:
        """Raises what the client is to be told if it may not make this call."""
        self._calls.check(scope, self._metadata)

    def put_into(self, request: InferRequest, now_s: float) -> None:
        """The call's deadline and unit key, where ``request`` has none that is earlier or its own."""
        left_s = self._context.time_remaining()
        if left_s is not None:
            deadline_s = now_s + left_s
            request.deadline_s = deadline_s if request.deadline_s is None else min(deadline_s, request.deadline_s)
        if request.unit_key is None:
            request.unit_key = self._metadata.get(UNIT_KEY)

    @property
    def own_id(self) -> bytes | None:
        """The id in the metadata, None where the client gave none there."""
        return self._id.encode() or None

    @property
    def client(self) -> str:
        """Host and port of whoever calls, as text."""
        return str(self._context.peer()).partition(":")[2]

    @property
    def traceparent(self) -> str | None:
        return self._metadata.get("traceparent")

    def has(self, name: str) -> bool:
        """Whether the client set the metadata ``name`` to true."""
        return self._metadata.get(name, "").lower() in ("1", "true")

    def close(self, *more: tuple[str, str]) -> None:
        """Say the id, and what else there is to say, behind the answer."""
        self._context.set_trailing_metadata(((REQUEST_ID, self.id), *more))

    def note(self, error: Exception) -> None:
        """Count what the call, or one request of a stream, failed for."""
        self._calls.note_failure(self.model, error)

    async def fail(self, error: Exception) -> bytes:
        """End the call with the status of ``error``; does not return."""
        code, sentence = status_of(error, self.id)
        number: int = code.value[0]
        self._calls.refused[number] = self._calls.refused.get(number, 0) + 1
        self.note(error)
        self.status = error.http_status if isinstance(error, MlserveError) else HTTPStatus.INTERNAL_SERVER_ERROR.value
        await self._context.abort(code, sentence, ((REQUEST_ID, self.id),))
        raise AssertionError("abort does not return")


def metadata_of(context: Any) -> dict[str, str]:
    """A call's metadata as texts; of a name that comes twice, the last."""
    return {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
