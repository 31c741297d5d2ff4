"""``/metrics`` of a real front end on a real engine says what was really done."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mlserve.errors import InvalidInput, Overloaded
from mlserve.serving.metrics.collecting import Sources
from mlserve.serving.metrics.events import EventCounts
from mlserve.serving.metrics.exposition import text_of
from tests import models
from tests.serving.engines import GatedModel, World, gated_world, rows, started, world_of
from tests.serving.fakes import FakeEngine, doubling
from tests.serving.http.wire import Client, message

LABELS = (("model", "m"), ("version", "1"))


def scraped(world: World, counts: EventCounts | None = None) -> dict[Any, float]:
    sources = Sources(
        world.engine,
        counts or EventCounts(lambda event: None),
        connections={"http": lambda: 3},
        refused={"http": lambda: {404: 2}},
        dropped={"access_log": lambda: 1},
    )
    parsed = text_string_to_metric_families(text_of(sources.families()).decode())
    return {(sample.name, *sorted(sample.labels.items())): sample.value for one in parsed for sample in one.samples}


def test_requests_rows_and_runs_are_counted_under_both_names() -> None:
    async def ask() -> dict[Any, float]:
        world = await world_of(models.classifier())
        await asyncio.gather(*(world.ask("m", x=rows(2, seed)) for seed in range(3)))
        await world.ask("m", x=rows(1))
        found = scraped(world)
        world.close()
        return found

    found = asyncio.run(ask())

    assert found["mlserve_requests_answered_total", *LABELS] == found["nv_inference_request_success", *LABELS] == 4
    assert found["mlserve_rows_total", *LABELS] == found["nv_inference_count", *LABELS] == 7
    assert found["mlserve_runs_total", *LABELS] == found["nv_inference_exec_count", *LABELS] == 2
    assert found["mlserve_request_duration_seconds_count", *LABELS] == 4
    assert found["mlserve_compute_duration_seconds_count", *LABELS] == 2
    assert found["mlserve_batch_rows_sum", *LABELS] == 7
    assert found["mlserve_model_ready", *LABELS] == 1


def test_the_parts_of_a_request_sum_to_its_whole_time() -> None:
    async def ask() -> dict[Any, float]:
        world = await world_of(models.classifier())
        await world.ask("m", x=rows(1))
        found = scraped(world)
        world.close()
        return found

    found = asyncio.run(ask())

    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    whole_us = found["nv_inference_request_duration_us", *LABELS]
    assert sum(found[f"nv_inference_{part}_duration_us", *LABELS] for part in parts) == pytest.approx(
        whole_us, abs=0.01
    )


def test_a_request_that_the_model_refuses_is_a_failure() -> None:
    async def ask() -> dict[Any, float]:
        model = GatedModel({7.0: InvalidInput("no sevens")})
        model.gate.set()
        world = await gated_world(model)
        answers = [world.ask("m", x=np.float32([[value]])) for value in (1.0, 7.0, 2.0)]
        await asyncio.gather(*answers, return_exceptions=True)
        found = scraped(world)
        world.close()
        return found

    found = asyncio.run(ask())

    assert found["mlserve_requests_failed_total", *LABELS] == 1
    assert found["mlserve_requests_answered_total", *LABELS] == 2
    assert found["nv_inference_request_failure", LABELS[0], ("reason", "OTHER"), LABELS[1]] == 1


def test_what_waits_and_what_was_turned_away_is_told() -> None:
    async def ask() -> dict[Any, float]:
        model = GatedModel()
        world = await gated_world(model, lanes=1, max_queue_rows=2)
        answers = [world.ask("m", x=np.float32([[0.0]]))]
        await started(model)
        answers += [world.ask("m", x=np.float32([[1.0]])) for _ in range(2)]
        with pytest.raises(Overloaded):
            world.ask("m", x=np.float32([[1.0]]))
        found = scraped(world)
        model.gate.set()
        await asyncio.gather(*answers)
        world.close()
        return found

    found = asyncio.run(ask())

    assert found["mlserve_queue_rows", *LABELS] == found["nv_inference_pending_request_count", *LABELS] == 2
    assert found["mlserve_requests_rejected_total", LABELS[0], ("reason", "queue_full"), LABELS[1]] == 1


def test_loads_swaps_failures_and_the_registry_are_counted_from_events() -> None:
    told: list[dict[str, Any]] = []
    counts = EventCounts(told.append)
    events = [
        {"event": "loaded", "model": "m", "version": 1, "load_ms": 1500.0},
        {"event": "swapped", "model": "m", "version": 1, "previous": None},
        {"event": "failed", "model": "m", "version": 2, "reason": "broken", "retry": False},
        {"event": "registry_lost", "reason": "gone"},
    ]
    for event in events:
        counts(event)

    async def ask() -> dict[Any, float]:
        world = await world_of(models.classifier())
        found = scraped(world, counts)
        world.close()
        return found

    found = asyncio.run(ask())

    assert told == events
    assert found["mlserve_model_loads_total", ("model", "m")] == 1
    assert found["mlserve_model_load_failures_total", ("model", "m")] == 1
    assert found["nv_model_load_duration_secs", *LABELS] == 1.5
    assert found["mlserve_registry_losses_total",] == 1
    assert found["mlserve_registry_reachable",] == 0
    assert found["mlserve_connections", ("protocol", "http")] == 3
    assert found["mlserve_refused_requests_total", ("protocol", "http"), ("status", "404")] == 2
    assert found["mlserve_dropped_total", ("what", "access_log")] == 1


def test_many_requests_are_folded_without_losing_one() -> None:
    async def ask() -> dict[Any, float]:
        world = await world_of(models.classifier())
        for _ in range(90):
            await asyncio.gather(*(world.ask("m", x=rows(1)) for _ in range(50)))
        found = scraped(world)
        world.close()
        return found

    found = asyncio.run(ask())

    assert found["mlserve_queue_duration_seconds_count", *LABELS] == 4500
    assert found["mlserve_request_duration_seconds_sum", *LABELS] == pytest.approx(
        found["nv_inference_request_duration_us", *LABELS] / 1e6, rel=1e-3
    )


def test_a_front_end_without_metrics_says_so() -> None:
    engine = FakeEngine()
    engine.add(doubling())

    async def ask() -> list[int]:
        client = Client(engine)
        client.send(message(start="GET /metrics HTTP/1.1"))
        while not client.wire.written:
            await asyncio.sleep(0)
        return [reply.status for reply in client.took()]

    assert asyncio.run(ask()) == [404]
