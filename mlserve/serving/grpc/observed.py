"""Calls with somebody looking on: ``ModelInfer``, unary. Chosen when the front end starts; streams are not shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import Any

from mlserve.serving.grpc.calls import Call, Calls
from mlserve.serving.grpc.service import InferenceService
from mlserve.serving.grpc.streams import Streams
from mlserve.serving.observing import GONE, Observer, Seen
from mlserve.serving.seam import Engine, Whole


class ObservedService(InferenceService):
    """Lets ``observers`` see each call when it has ended, whatever ended it."""

    def __init__(
        self,
        engine: Engine,
        calls: Calls,
        streams: Streams,
        clock: Callable[[], float],
        whole: Whole | None,
        observers: Sequence[Observer],
    ) -> None:
        super().__init__(engine, calls, streams, clock, whole)
        self._observers = observers

    async def _infer(self, data: bytes, context: Any) -> bytes:
        call, reply_bytes = self._calls.begin(context), 0
        own_id = call.own_id
        wanting = [one for one in self._observers if one.wants(own_id, call.traceparent)]
        began_s = monotonic()
        try:
            response = await self._answer_call(call, data)
            reply_bytes = len(response)
            return response
        except asyncio.CancelledError:
            call.status = GONE
            raise
        finally:
            wanting = wanting or [one for one in self._observers if one.wants_failure(call.status)]
            if wanting:
                seen = _seen(call, began_s, reply_bytes)
                for one in wanting:
                    one.note(seen)


def _seen(call: Call, began_s: float, reply_bytes: int) -> Seen:
    answer = call.answer
    return Seen(
        protocol="grpc",
        id=call.id,
        client=call.client,
        action="infer",
        model=call.model,
        version="" if answer is None else answer.version,
        status=call.status,
        reply_bytes=reply_bytes,
        ended_at=time(),
        ended_s=monotonic(),
        began_s=began_s,
        timing=None if answer is None else answer.batch.timing,
        traceparent=call.traceparent,
    )
