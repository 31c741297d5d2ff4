"""Counters of several workers, told as one, through the ends of some of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from mlserve.serving.metrics.families import Family, Point
from mlserve.serving.supervising.asking import AskedServer
from mlserve.serving.supervising.snapshots import gathered, keep_departed, keep_seen
from mlserve.serving.supervising.telling import Told


def counting(requests: float, queue: float = 1.0) -> Callable[[], Told]:
    families = [
        Family("requests", "counter", "", [Point((), requests)]),
        Family("queue", "gauge", "", [Point((), queue)]),
    ]
    return lambda: Told(families)


def values(families: list[Family]) -> dict[str, float]:
    return {family.name: family.points[0].value for family in families}


def test_whichever_worker_is_asked_tells_of_all(tmp_path: Path) -> None:
    async def story() -> list[dict[str, float]]:
        first, second = AskedServer(tmp_path, "1", counting(3)), AskedServer(tmp_path, "2", counting(4))
        await first.start()
        await second.start()
        told = [values((await gathered(tmp_path, one)).whole.families) for one in (first, second)]
        first.close()
        second.close()
        return told

    assert asyncio.run(story()) == [{"requests": 7, "queue": 2}] * 2


def test_a_worker_that_ends_in_good_order_leaves_all_that_it_counted_and_no_gauge(tmp_path: Path) -> None:
    async def story() -> list[dict[str, float]]:
        first, second = AskedServer(tmp_path, "1", counting(3)), AskedServer(tmp_path, "2", counting(4))
        await first.start()
        await second.start()
        second.close()
        keep_seen(tmp_path, "2", second.tell())
        before = values((await gathered(tmp_path, first)).whole.families)
        keep_departed(tmp_path, "2")
        after = values((await gathered(tmp_path, first)).whole.families)
        first.close()
        return [before, after]

    assert asyncio.run(story()) == [{"requests": 7, "queue": 1}] * 2


def test_what_was_told_of_a_worker_is_never_taken_back_by_its_crash(tmp_path: Path) -> None:
    async def story() -> list[float]:
        first, second = AskedServer(tmp_path, "1", counting(3)), AskedServer(tmp_path, "2", counting(4))
        await first.start()
        await second.start()
        told = [values((await gathered(tmp_path, first)).whole.families)["requests"]]
        second.path.unlink()  # nobody answers there any more, and nothing was left behind in good order
        told.append(values((await gathered(tmp_path, first)).whole.families)["requests"])
        for _ in range(2):
            keep_departed(tmp_path, "2")
            told.append(values((await gathered(tmp_path, first)).whole.families)["requests"])
        first.close()
        second.close()
        return told

    assert asyncio.run(story()) == [7, 7, 7, 7]
