"""Spans of requests: their times, their parents, and which are made at all."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from mlserve.serving.observing import Sampler, Seen
from mlserve.serving.seam import RunTiming
from mlserve.serving.tracing import Traces, open_traces

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"


def seen(status: int = 200, traceparent: str | None = None, timing: RunTiming | None = None) -> Seen:
    return Seen("http", "a", "10.0.0.1:5", "infer", "m", "1", status, 9, 1000.0, 50.5, 50.0, timing, traceparent)


def spans(*requests: Seen) -> dict[str, ReadableSpan]:
    exporter = InMemorySpanExporter()
    traces = open_traces(1.0, exporter=exporter)
    for one in requests:
        traces.note(one)
    traces.close(10.0)
    return {span.name: span for span in exporter.get_finished_spans()}


def ns(span: ReadableSpan) -> tuple[int, int]:
    assert span.start_time is not None
    assert span.end_time is not None
    return round(span.start_time - 999.5e9), round(span.end_time - 999.5e9)


def test_a_request_is_a_span_with_its_parts_below_it() -> None:
    found = spans(seen(timing=RunTiming(50.1, 50.15, 50.4, 8, 5)))

    whole = found["infer m"]
    assert ns(whole) == pytest.approx((0, 500e6), abs=1e3)
    parts = {name: ns(found[name]) for name in ("queue", "gather", "compute", "encode")}
    assert parts["queue"] == pytest.approx((0, 100e6), abs=1e3)
    assert parts["gather"] == pytest.approx((100e6, 150e6), abs=1e3)
    assert parts["compute"] == pytest.approx((150e6, 400e6), abs=1e3)
    assert parts["encode"] == pytest.approx((400e6, 500e6), abs=1e3)
    assert whole.context is not None
    for name in parts:
        parent = found[name].parent
        assert parent is not None
        assert parent.span_id == whole.context.span_id
    assert whole.attributes is not None
    assert whole.attributes["mlserve.version"] == "1"
    assert whole.attributes["mlserve.batch.rows"] == 8
    assert whole.resource.attributes["service.name"] == "mlserve"


def test_a_traceparent_is_taken_over() -> None:
    whole = spans(seen(traceparent=SAMPLED))["infer m"]

    assert whole.context is not None
    assert whole.parent is not None
    assert f"{whole.context.trace_id:032x}" == TRACE
    assert f"{whole.parent.span_id:016x}" == PARENT


def test_what_the_server_failed_at_is_an_error_and_what_the_client_did_is_not() -> None:
    assert spans(seen(500))["infer m"].status.status_code is StatusCode.ERROR
    assert spans(seen(400))["infer m"].status.status_code is StatusCode.UNSET


def test_a_client_that_sends_a_traceparent_decides_and_others_are_sampled_by_id() -> None:
    traces: Traces = open_traces(0.1, exporter=InMemorySpanExporter())
    ids = [b"%d" % number for number in range(200)]

    sampler = Sampler(0.1)

    assert [traces.wants(one, None) for one in ids] == [sampler.takes(one) for one in ids]
    assert all(traces.wants(one, SAMPLED) for one in ids)
    assert not any(traces.wants(one, UNSAMPLED) for one in ids)
    assert [traces.wants(one, "nonsense") for one in ids] == [traces.wants(one, None) for one in ids]
    assert not traces.wants_failure(500)
    traces.close(10.0)
