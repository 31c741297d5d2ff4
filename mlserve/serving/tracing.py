"""OpenTelemetry: a span a sampled request, with its time in queue, of the run and of encoding below it.

Spans are made when a request has its reply, from times that were taken anyway, and exported by a thread of the SDK's.
A client that sends a ``traceparent`` decides whether its request is sampled, and the span becomes a child of the
client's. Source: W3C Trace Context.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mlserve import __version__
from mlserve.core.plugins import missing_extra
from mlserve.serving.observing import Sampler, Seen

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

TRACES_BY_ENVIRONMENT = "otel"
"""As an endpoint: wherever the ``OTEL_EXPORTER_OTLP_*`` variables say."""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")
_SAMPLED = 1
_NS = 1e9
_SERVER_ERROR = 500
_PATH = "/v1/traces"


class Traces:
    """An ``Observer`` that exports spans through ``provider``. ``share`` is of requests that bring no traceparent."""

    def __init__(self, provider: TracerProvider, share: float) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("mlserve", __version__)
        self._sampler = Sampler(share)

    def wants(self, request_id: bytes | None, traceparent: str | None) -> bool:
        match = None if traceparent is None else _TRACEPARENT.fullmatch(traceparent)
        if match is None:
            return self._sampler.takes(request_id)
        return bool(int(match["flags"], 16) & _SAMPLED)

    def wants_failure(self, status: int) -> bool:
        return False

    def note(self, seen: Seen) -> None:
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        began_s = seen.ended_s if seen.began_s is None else seen.began_s

        # One clock for all: what was measured since, taken from the time of day.
        def at_ns(monotonic_s: float) -> int:
            return int(_NS * (seen.ended_at - (seen.ended_s - monotonic_s)))

        span = self._tracer.start_span(
            f"{seen.action} {seen.model}".strip() or seen.protocol,
            context=_parent(seen.traceparent),
            kind=SpanKind.SERVER,
            start_time=at_ns(began_s),
            attributes={
                "mlserve.request_id": seen.id,
                "mlserve.model": seen.model,
                "mlserve.version": seen.version,
                "http.response.status_code": seen.status,
                "client.address": seen.client.rpartition(":")[0],
            },
        )
        if seen.status >= _SERVER_ERROR:
            span.set_status(Status(StatusCode.ERROR))
        timing = seen.timing
        if timing is not None:
            span.set_attribute("mlserve.batch.rows", timing.rows)
            span.set_attribute("mlserve.batch.requests", timing.requests)
            inside = set_span_in_context(span)
            marks = (began_s, timing.taken_s, timing.gathered_s, timing.ran_s, seen.ended_s)
            for name, start_s, end_s in zip(
                ("queue", "gather", "compute", "encode"), marks[:-1], marks[1:], strict=True
            ):
                part = self._tracer.start_span(name, context=inside, start_time=at_ns(start_s))
                part.end(at_ns(max(start_s, end_s)))
        span.end(at_ns(seen.ended_s))

    def close(self, timeout_s: float) -> None:
        """Export what is left, as long as ``timeout_s``."""
        self._provider.force_flush(int(1e3 * timeout_s))
        self._provider.shutdown()


def open_traces(share: float, *, endpoint: str | None = None, exporter: SpanExporter | None = None) -> Traces:
    """Traces to ``endpoint`` by OTLP over HTTP; None is what the ``OTEL_EXPORTER_OTLP_*`` variables say.

    ``exporter`` takes their place where it is given. Raises MissingExtra without the extra ``otel``.
    """
    try:
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    except ModuleNotFoundError as error:
        raise missing_extra("opentelemetry", "otel") from error
    ours = Resource({"service.name": "mlserve", "service.version": __version__})
    provider = TracerProvider(
        resource=ours.merge(OTELResourceDetector().detect()), sampler=ALWAYS_ON, shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(exporter or _otlp(endpoint)))
    return Traces(provider, share)


def _otlp(endpoint: str | None) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    if endpoint is None:
        return OTLPSpanExporter()
    return OTLPSpanExporter(endpoint=endpoint if endpoint.endswith(_PATH) else endpoint.rstrip("/") + _PATH)


def _parent(traceparent: str | None) -> Context | None:
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    match = None if traceparent is None else _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    parent = SpanContext(
        int(match["trace"], 16), int(match["span"], 16), is_remote=True, trace_flags=TraceFlags(int(match["flags"], 16))
    )
    return set_span_in_context(NonRecordingSpan(parent))
