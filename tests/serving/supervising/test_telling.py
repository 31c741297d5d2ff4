"""What several workers say of the same thing, made one."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from mlserve.serving.accounting import Account
from mlserve.serving.metrics.families import Family, Point
from mlserve.serving.seam import ModelState, ModelStatus
from mlserve.serving.supervising.telling import Told, agreed, counted, summed
from mlserve.serving.tallies import ModelStatistics
from tests.serving.test_accounting import Made, runs
from tests.serving.test_accounting import noted as statistics_of

READY, LOADING, UNLOADING = ModelState.READY, ModelState.LOADING, ModelState.UNLOADING
UNAVAILABLE = ModelState.UNAVAILABLE


def line(version: str | None, state: ModelState = READY, reason: str = "") -> ModelStatus:
    return ModelStatus("m", version, state, reason)


def flat(value: Any) -> Any:
    """Without times, which are sums of floats rounded one worker at a time."""
    if isinstance(value, dict):
        return {name: flat(part) for name, part in value.items() if name not in ("ns", "total")}
    return [flat(part) for part in value] if isinstance(value, list) else value


def test_statistics_of_several_workers_are_those_of_one_that_did_it_all() -> None:
    made, chance = runs(600), random.Random(1)
    parts: list[Made] = [[], [], []]
    for one in made:
        chance.choice(parts).append(one)

    (whole,) = summed(Told(statistics=[statistics_of(part)]) for part in parts).statistics

    alone = statistics_of(made)
    assert flat(msgspec.to_builtins(whole)) == flat(msgspec.to_builtins(alone)) | {
        "last_inference_ms": whole.last_inference_ms
    }
    assert whole.success.ns == pytest.approx(alone.success.ns, rel=1e-9)
    assert whole.histograms["compute"].total == pytest.approx(alone.histograms["compute"].total, rel=1e-9)


def test_what_was_rejected_hit_and_still_waits_is_summed_and_the_last_answer_is_the_latest() -> None:
    def some(rejections: dict[str, int], hits: int, waiting: int, last_s: float) -> ModelStatistics:
        account = Account("m", 10, last_s=last_s)
        for reason, count in rejections.items():
            for _ in range(count):
                account.note_rejection(reason)
        for _ in range(hits):
            account.note_cache_hit(5)
        return account.statistics(waiting)

    told = Told(statistics=[some({"slo": 2}, 3, 4, 7.0)]), Told(statistics=[some({"slo": 1, "expired": 1}, 1, 2, 5.0)])

    (whole,) = summed(told).statistics

    assert whole.rejected == {"slo": 3, "expired": 1}
    assert (whole.cache_hit.count, whole.cache_hit.ns) == (4, 20)
    assert (whole.waiting_rows, whole.last_inference_ms) == (6, 7000)


def test_a_version_that_only_one_worker_has_counted_stays_and_versions_are_sorted_as_numbers() -> None:
    told = [Told(statistics=[Account("m", number).statistics()]) for number in (10, 9)]

    assert [one.version for one in summed(told).statistics] == ["9", "10"]


def test_of_a_worker_that_has_ended_nothing_waits_any_more() -> None:
    families = [Family("queue", "gauge", "", [Point((), 1.0)]), Family("rows", "counter", "", [Point((), 2.0)])]
    told = Told(families, [Account("m", 1).statistics(5)], [line("1")])

    left = counted(told)

    assert [family.name for family in left.families] == ["rows"]
    assert [one.waiting_rows for one in left.statistics] == [0]
    assert left.models == []


@pytest.mark.parametrize(
    ("workers", "told"),
    [
        pytest.param([[line("1")], [line("1")]], [line("1")], id="in each"),
        pytest.param([[line("1")], []], [line("1", UNAVAILABLE, "not loaded in worker 11")], id="in one"),
        pytest.param([[line("1")], [line("1", LOADING)]], [line("1", LOADING)], id="loading in one"),
        pytest.param(
            [[line("1")], [line("1", UNAVAILABLE, "it is broken")]],
            [line("1", UNAVAILABLE, "it is broken (in worker 11)")],
            id="failed in one",
        ),
        pytest.param(
            [[line("1", UNAVAILABLE, "unloaded")], [line("1", UNAVAILABLE, "unloaded")]],
            [line("1", UNAVAILABLE, "unloaded")],
            id="unloaded in each",
        ),
        pytest.param([[line("1", UNLOADING)], []], [line("1", UNLOADING)], id="gone in one and going in the other"),
        pytest.param([[line("1")], [line("1", reason="stale")]], [line("1", reason="stale")], id="stale in one"),
        pytest.param(
            [[line("1")], None], [line("1", UNAVAILABLE, "worker 11 does not answer")], id="one does not answer"
        ),
        pytest.param(
            [[line("9"), line("10")], [line("10"), line("9")]], [line("9"), line("10")], id="sorted as numbers"
        ),
        pytest.param(
            [[line(None, UNAVAILABLE, "no version")], [line("1", LOADING)]],
            [line("1", LOADING)],
            id="first version",
        ),
        pytest.param(
            [[line(None, UNAVAILABLE, "no version")]] * 2, [line(None, UNAVAILABLE, "no version")], id="no version"
        ),
    ],
)
def test_a_version_is_ready_where_every_worker_has_it_or_the_index_says_why_not(
    workers: list[list[ModelStatus] | None], told: list[ModelStatus]
) -> None:
    by_name = {
        str(10 + number): None if models is None else Told(models=models) for number, models in enumerate(workers)
    }

    assert agreed(by_name) == told
