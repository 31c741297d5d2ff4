"""Inference over HTTP: what asks for it in each protocol, read here or beside the loop, and given to the engine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic

from mlserve.errors import PayloadTooLarge
from mlserve.serving.http.coding import inflate
from mlserve.serving.http.exchanges import Exchange
from mlserve.serving.http.heads import Head
from mlserve.serving.http.limits import Limits
from mlserve.serving.http.offloading import INFLATED_BYTES, JSON_BYTES, Offload, Reading
from mlserve.serving.http.replies import Reply
from mlserve.serving.http.routing import Route
from mlserve.serving.http.streaming import EventStream
from mlserve.serving.oip import generate as oip_generate
from mlserve.serving.oip.decoding import Decoded, decode_infer
from mlserve.serving.oip.plans import plan_of
from mlserve.serving.seam import Answer, Engine, InferRequest, ModelView
from mlserve.serving.v1 import codec as v1


class Inferring:
    """Gives requests to an engine. ``clock`` is the loop's, in seconds, which reads large bodies without ``offload``.

    After a method of a route its exchange has a ticket, and will be delivered to. They raise what the client is told.
    """

    __slots__ = (
        "_clock",
        "_engine",
        "_large_json_bytes",
        "_max_body_bytes",
        "_max_depth",
        "_max_json_bytes",
        "_offload",
    )

    def __init__(
        self, engine: Engine, limits: Limits, clock: Callable[[], float], offload: Offload | None = None
    ) -> None:
        self._engine = engine
        self._offload = offload
        self._max_body_bytes = limits.max_body_bytes
        self._max_json_bytes = limits.max_json_bytes
        self._large_json_bytes = min(JSON_BYTES, limits.max_json_bytes + 1)
        self._max_depth = limits.max_json_depth
        self._clock = clock

    def infer(self, exchange: Exchange, head: Head, route: Route, body: bytes) -> None:
        """The protocol's own request: what nearly every one is."""
        json_bytes = head.json_bytes
        if head.encoding is not None or (len(body) if json_bytes is None else json_bytes) >= self._large_json_bytes:
            self._infer_carefully(exchange, head, route, body)
            return
        version = route.version
        view = self._engine.expect(route.model, version)
        if view.name != route.model:  # NAME@STAGE, which means the version that stands there
            version = int(view.version)
        self._admit(exchange, head, decode_infer(view, version, body, json_bytes, self._max_depth, self._clock))

    def _infer_carefully(self, exchange: Exchange, head: Head, route: Route, body: bytes) -> None:
        """A body with much JSON, or compressed: read beside the loop where that takes a while."""
        if head.encoding is None:
            # A length of the JSON beyond the body is no length at all, which the decoder says.
            self._check_json(len(body) if head.json_bytes is None else min(len(body), head.json_bytes))
        view = self._engine.expect(route.model, route.version)
        version = route.version if view.name == route.model else int(view.version)
        read = partial(self._read, view, version, head, body)
        if self._offload is None or (head.encoding is not None and len(body) < INFLATED_BYTES):
            self._admit(exchange, head, read())
            return
        ticket = exchange.ticket = Reading()
        plan_of(view)  # once a version, and not by two threads

        def go_on(outcome: Decoded | Exception) -> None:
            if ticket.is_cancelled:
                return
            exchange.ticket = None
            try:
                if isinstance(outcome, Exception):
                    raise outcome
                self._admit(exchange, head, outcome)
            except Exception as error:
                exchange.fail(error)
                exchange.line.finish(exchange)

        self._offload.run(read, go_on)

    def _read(self, view: ModelView, version: int | None, head: Head, body: bytes) -> Decoded:
        """Inflate and decode. Touches nothing that the loop's thread may be at."""
        if head.encoding is not None:
            most = self._max_body_bytes
            body = inflate(body, most if head.json_bytes is not None else min(most, self._max_json_bytes))
            self._check_json(min(len(body), head.json_bytes or 0))
        return decode_infer(view, version, body, head.json_bytes, self._max_depth, self._clock)

    def _admit(self, exchange: Exchange, head: Head, decoded: Decoded) -> None:
        exchange.id = decoded.id
        exchange.wish = decoded.wish
        request = decoded.request
        if head.unit_key is not None and request.unit_key is None:
            request.unit_key = head.unit_key
        if decoded.wants_receipt or head.wants_receipt:
            exchange.receipt_from_s = monotonic()
        if exchange.common.names_requests:
            request.id = exchange.request_id
        exchange.ticket = self._engine.infer(request, exchange.deliver)

    def json(self, head: Head, body: bytes) -> bytes:
        """A body that is JSON throughout, inflated. Raises InvalidInput, PayloadTooLarge."""
        if head.encoding is not None and body:
            return inflate(body, min(self._max_json_bytes, self._max_body_bytes))
        self._check_json(len(body))
        return body

    def _check_json(self, json_bytes: int) -> None:
        # Most JSON is read with the interpreter's lock held: what takes seconds keeps everybody else waiting.
        if json_bytes > self._max_json_bytes:
            raise PayloadTooLarge(
                f"the request has {json_bytes} bytes of JSON, and at most {self._max_json_bytes} are taken: "
                "send large tensors as binary data"
            )

    def predict(self, exchange: Exchange, head: Head, route: Route, body: bytes) -> None:
        """KServe's V1."""
        view = self._engine.expect(route.model)
        request, is_columnar = v1.decode_predict(view, body, self._max_depth)
        request.unit_key = head.unit_key
        if view.name != route.model:
            request.version = int(view.version)
        if head.wants_receipt:
            exchange.receipt_from_s = monotonic()
        request.id = exchange.request_id
        encode = partial(v1.encode_predictions, is_columnar=is_columnar)
        exchange.ticket = self._engine.infer(request, partial(_deliver_as, exchange, encode))

    def generate(self, exchange: Exchange, head: Head, route: Route, body: bytes) -> None:
        """The generate extension, one answer."""
        request = self._generate_request(exchange, head, route, body)
        exchange.ticket = self._engine.infer(request, partial(_deliver_as, exchange, oip_generate.encode_generated))

    def generate_stream(self, exchange: Exchange, head: Head, route: Route, body: bytes) -> None:
        """The generate extension, an event for each part."""
        request = self._generate_request(exchange, head, route, body)
        stream = EventStream(exchange)
        exchange.ticket = self._engine.stream(request, stream.deliver, stream.end)

    def _generate_request(self, exchange: Exchange, head: Head, route: Route, body: bytes) -> InferRequest:
        view = self._engine.expect(route.model, route.version)
        version = route.version if view.name == route.model else int(view.version)
        decoded = oip_generate.decode_generate(view, version, body, self._max_depth, self._clock)
        request, exchange.id = decoded.request, decoded.id
        request.unit_key = request.unit_key or head.unit_key
        if decoded.wants_receipt or head.wants_receipt:
            exchange.receipt_from_s = monotonic()
        request.id = exchange.request_id
        return request


def _deliver_as(exchange: Exchange, encode: Callable[[Answer], bytes], outcome: Answer | Exception) -> None:
    """Write an answer in another protocol's words."""
    exchange.ticket = None
    try:
        if isinstance(outcome, Exception):
            exchange.fail(outcome)
        else:
            text = encode(outcome)  # before the receipt, which says how long that took
            exchange.write(Reply(200, text, exchange.receipt(outcome)))
    except Exception as error:
        exchange.fail(error)
    exchange.line.finish(exchange)
