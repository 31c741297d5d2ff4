"""What a server did between two looks, told from the text of its metrics alone."""

from __future__ import annotations

import asyncio

import pytest

from mlserve.core.histograms import SECONDS, Histogram
from mlserve.errors import InvalidInput
from mlserve.serving.metrics.collecting import Sources
from mlserve.serving.metrics.events import EventCounts
from mlserve.serving.metrics.exposition import text_of
from mlserve.serving.metrics.families import Family, Point
from mlserve.serving.metrics.rates import ShadowRate, busy_cores, rates, shadow_rates
from mlserve.serving.metrics.reading import Figures, Scrape, scrape_of
from mlserve.serving.shadow.counting import families_of
from mlserve.serving.shadow.messages import Told
from tests import models
from tests.serving.engines import rows, world_of


def test_a_scrape_of_a_real_engine_gives_back_what_was_counted() -> None:
    async def story() -> tuple[Scrape, Histogram]:
        world = await world_of(models.classifier())
        await asyncio.gather(*(world.ask("m", x=rows(2, seed)) for seed in range(3)))
        sources = Sources(
            world.engine,
            EventCounts(lambda event: None),
            connections={"http": lambda: 3},
            refused={},
            dropped={},
        )
        found = scrape_of(text_of(sources.families()).decode())
        (one,) = world.engine.statistics()
        world.close()
        return found, one.histograms["request"]

    found, request = asyncio.run(story())

    figures = found.versions["m", "1"]
    assert (figures.counts["answered"], figures.counts["rows"], figures.counts["ready"]) == (3, 6, 1)
    assert figures.histograms["request"].counts == request.counts
    assert figures.histograms["request"].bounds == request.bounds
    assert figures.histograms["request"].total == pytest.approx(request.total)
    assert found.server["connections"] == 3
    assert found.server["cpu_s"] > 0


def scrape(answered: float, *times_s: float, **counts: float) -> Scrape:
    histogram = Histogram.over(SECONDS)
    for seconds in times_s:
        histogram.add(seconds)
    figures = Figures({"answered": answered, "ready": 1, **counts}, {"request": histogram})
    return Scrape({("m", "1"): figures}, {"cpu_s": counts.get("cpu_s", 0.0)})


def test_rates_and_percentiles_are_of_the_interval_alone() -> None:
    before = scrape(10, *[5.0] * 10, rows=100, runs=10, rejected=1)
    after = scrape(30, *[5.0] * 10, *[0.001] * 20, rows=160, runs=20, rejected=5, failed=2, queue_rows=7)

    (rate,) = rates(before, after, 2.0)

    assert (rate.requests_per_s, rate.rows_per_s, rate.batch_rows) == (10, 30, 6)
    assert (rate.rejected_per_s, rate.failed_per_s, rate.queue_rows) == (2, 1, 7)
    assert rate.p99_ms is not None
    assert rate.p99_ms <= 1.0
    assert rate.queue_p99_ms is None


def shadowed(compared: int, differing: int) -> Scrape:
    """``m:2`` in shadow now, beside ``m:3`` that was."""
    told = {("m", 2): Told(compared=compared, rows=compared, within_tolerance=compared - differing), ("m", 3): Told()}
    up = Family("mlserve_shadow_up", "gauge", "", [Point((("model", "m"), ("version", "2")), 1.0)])
    built = Family("mlserve_build_info", "gauge", "", [Point((), 1.0)])
    return scrape_of(text_of([built, up, *(one for one in families_of(told, {}) if one.name != up.name)]).decode())


def test_a_version_in_shadow_is_told_of_as_long_as_it_is_there() -> None:
    (rate,) = shadow_rates(shadowed(10, 10), shadowed(50, 20), 2.0)

    assert rate == ShadowRate("m", "2", True, compared_per_s=20, dropped_per_s=0, failed_per_s=0, differing_share=0.4)


def test_a_server_that_began_anew_and_a_version_that_is_new_count_from_nothing() -> None:
    (anew,) = rates(scrape(1000, *[0.1] * 5), scrape(4, 0.001), 1.0)
    (new,) = rates(Scrape({}), scrape(4, 0.001), 1.0)

    assert anew.requests_per_s == new.requests_per_s == 4
    assert anew.p50_ms == new.p50_ms


def test_an_interval_without_requests_has_no_percentiles() -> None:
    (rate,) = rates(scrape(4, 0.001), scrape(4, 0.001), 1.0)

    assert rate.requests_per_s == 0
    assert rate.p50_ms is rate.batch_rows is None


def test_busy_cores_are_processor_time_over_time() -> None:
    assert busy_cores(scrape(0, cpu_s=3.0), scrape(0, cpu_s=4.5), 2.0) == 0.75


@pytest.mark.parametrize("text", ["<html>", "up 1\n", ""])
def test_what_are_no_metrics_of_ours_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        scrape_of(text)
