"""The dashboard and the page of metrics speak of what there is."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlserve.errors import Overloaded
from mlserve.serving.metrics.collecting import Sources
from mlserve.serving.metrics.events import EventCounts
from mlserve.serving.metrics.exposition import text_of
from mlserve.serving.shadow.counting import families_of
from mlserve.serving.shadow.messages import Told
from mlserve.serving.supervising.crashes import Crashes
from tests import models
from tests.serving.engines import rows, world_of

ROOT = Path(__file__).parents[3]
DASHBOARD = json.loads((ROOT / "examples/grafana/mlserve.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
_NAME = re.compile(r"\b(?:mlserve|nv|process)_\w+")


class FakeKeeper:
    """What the metrics ask of who keeps a shadow's process."""

    state = "comparing"
    starts = 1


@pytest.fixture(scope="module")
def scrape() -> str:
    """The metrics of a server to which everything has happened that is counted."""

    async def story() -> bytes:
        counts = EventCounts(lambda event: None)
        for event in ("loaded", "failed", "swapped", "abandoned"):
            counts({"event": event, "model": "m", "version": 1, "load_ms": 5.0})
        world = await world_of(models.classifier(), max_queue_rows=1)
        first = world.ask("m", x=rows(1))
        with pytest.raises(Overloaded):
            world.ask("m", x=rows(1))
        await first
        sources = Sources(
            world.engine,
            counts,
            connections={"http": lambda: 3},
            refused={"http": lambda: {404: 2}},
            dropped={"access_log": lambda: 1},
            failures={"http": lambda: {("m", "invalid_input"): 1}},
            shadows=lambda: families_of({("m", 2): Told(compared=1)}, {("m", 2): FakeKeeper()}),  # type: ignore[dict-item]
        )
        text = text_of(sources.families())
        world.close()
        return text

    return asyncio.run(story()).decode()


def names_in(scrape: str) -> set[str]:
    return {re.split(r"[{ ]", line)[0] for line in scrape.splitlines() if line and not line.startswith("#")}


def families_in(scrape: str) -> set[str]:
    """Each metric once, a histogram without what its series end in."""
    histograms = set(re.findall(r"^# TYPE (\S+) histogram$", scrape, re.MULTILINE))
    return {re.sub(r"_(?:bucket|sum|count)$", "", name) if is_part(name, histograms) else name
            for name in names_in(scrape)}  # fmt: skip


def is_part(name: str, histograms: set[str]) -> bool:
    return name.rpartition("_")[0] in histograms


def queries(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("expr", "definition"):
                yield value
            yield from queries(value)
    elif isinstance(node, list):
        for item in node:
            yield from queries(item)


def test_every_metric_of_the_dashboard_is_scraped(scrape: str) -> None:
    used = {name for query in queries(DASHBOARD) for name in _NAME.findall(query)}

    assert len(used) > 20
    assert used - names_in(scrape) == set()


def test_every_label_of_the_dashboard_is_scraped(scrape: str) -> None:
    labels = {label for line in scrape.splitlines() for label in re.findall(r'[{,](\w+)="', line)} | {"le", "instance"}
    used = {word.strip() for query in queries(DASHBOARD) for group in re.findall(r"by \(([^)]*)\)", query)
            for word in group.split(",")}  # fmt: skip

    assert used - labels == set()


def test_panels_have_ids_and_places_of_their_own() -> None:
    panels = DASHBOARD["panels"]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)


def test_the_page_names_every_metric_and_none_that_is_not_there(scrape: str) -> None:
    named = set(re.findall(r"`((?:mlserve|nv|process)_\w+)(?:\{[^`]*)?`", PAGE))

    # Those of a supervisor, which this server has not.
    assert named == families_in(scrape + text_of(Crashes(2).families()).decode())
