"""Counts are exact, however many runs are put aside before they are folded."""

from __future__ import annotations

import random
from bisect import bisect_left

import pytest

from mlserve.serving.accounting import Account, Accounts
from mlserve.serving.batching import Waiting
from mlserve.serving.seam import InferRequest, RunTiming
from mlserve.serving.tallies import ModelStatistics

Made = list[tuple[list[float], RunTiming, float]]


def runs(count: int, seed: int = 0) -> Made:
    """Arrivals, timing and delivery of ``count`` runs, on a clock that has run for a month."""
    chance, now_s, made = random.Random(seed), 2.6e6, []
    for _ in range(count):
        requests = chance.choice((1, 1, 1, 2, 7, 64))
        arrivals = [now_s + chance.random() * 1e-3 for _ in range(requests)]
        taken = now_s + 1e-3 + chance.expovariate(1e3)
        gathered = taken + chance.expovariate(1e5)
        ran = gathered + chance.expovariate(300)
        delivered = ran + chance.expovariate(1e4)
        made.append((arrivals, RunTiming(taken, gathered, ran, requests * chance.choice((1, 3)), requests), delivered))
        now_s = delivered
    return made


def noted(made: Made) -> ModelStatistics:
    account = Account("m", 1)
    for arrivals, timing, delivered_s in made:
        batch = [Waiting(InferRequest("m", None, []), None, 1, None, arrived) for arrived in arrivals]
        account.note_run(batch, timing, delivered_s)
    return account.statistics()


@pytest.mark.parametrize("count", [1, 50, 3000])
def test_sums_and_buckets_are_those_of_counting_one_after_the_other(count: int) -> None:
    made = runs(count)

    found = noted(made)

    values: dict[str, list[float]] = {
        "request": [delivered - at for arrivals, _, delivered in made for at in arrivals],
        "queue": [timing.taken_s - at for arrivals, timing, _ in made for at in arrivals],
        "compute": [timing.ran_s - timing.gathered_s for _, timing, _ in made],
        "encode": [delivered - timing.ran_s for _, timing, delivered in made],
        "rows": [float(timing.rows) for _, timing, _ in made],
        "requests": [float(timing.requests) for _, timing, _ in made],
    }
    assert set(found.histograms) == set(values)
    for name, histogram in found.histograms.items():
        slow = [0] * len(histogram.counts)
        for value in values[name]:
            slow[bisect_left(histogram.bounds, value)] += 1
        assert histogram.counts == slow, name
        assert histogram.total == pytest.approx(sum(values[name]), rel=1e-9)
    assert (found.inference_count, found.execution_count) == (sum(values["rows"]), count)
    assert found.success.count == found.queue.count == found.compute_infer.count == len(values["request"])
    # To the microsecond: sums are rounded to a nanosecond each time that they are folded.
    assert found.success.ns / 1e9 == pytest.approx(sum(values["request"]), abs=1e-6)
    assert found.queue.ns / 1e9 == pytest.approx(sum(values["queue"]), abs=1e-6)
    shares = [timing.requests * (timing.ran_s - timing.gathered_s) for _, timing, _ in made]
    assert found.compute_infer.ns / 1e9 == pytest.approx(sum(shares), abs=1e-6)


def test_runs_of_each_size_are_counted_apart() -> None:
    made = runs(2000, seed=1)

    found = {size.rows: size for size in noted(made).batches}

    assert set(found) == {timing.rows for _, timing, _ in made}
    for rows, size in found.items():
        times = [timing.ran_s - timing.gathered_s for _, timing, _ in made if timing.rows == rows]
        assert size.compute_infer.count == size.compute_input.count == size.compute_output.count == len(times)
        assert size.compute_infer.ns / 1e9 == pytest.approx(sum(times), abs=1e-6)


def test_answers_of_anothers_run_count_as_requests_and_not_as_runs() -> None:
    account = Account("m", 1)
    arrivals, timing, delivered_s = runs(1, seed=3)[0]
    batch = [Waiting(InferRequest("m", None, []), None, 1, None, arrived) for arrived in arrivals]
    account.note_run(batch, timing, delivered_s)
    account.note_shared([delivered_s - 0.5, delivered_s - 0.25], delivered_s, is_failure=False)
    account.note_shared([delivered_s - 0.5], delivered_s, is_failure=True)

    found = account.statistics()

    assert found.success.count == found.queue.count == len(arrivals) + 2
    assert found.fail.count == 1
    assert found.fail.ns / 1e9 == pytest.approx(0.5)
    assert found.histograms["request"].count == len(arrivals) + 2
    assert found.execution_count == found.histograms["rows"].count == found.histograms["compute"].count == 1
    assert found.inference_count == timing.rows
    assert found.compute_infer.count == len(arrivals)


def test_only_shared_answers_are_counted_too() -> None:
    account = Account("m", 1)
    account.note_shared([1.0], 1.5, is_failure=False)

    found = account.statistics()

    assert (found.success.count, found.execution_count, found.batches) == (1, 0, [])


def test_what_was_told_does_not_change_with_what_comes_after() -> None:
    account = Account("m", 1)
    arrivals, timing, delivered_s = runs(1)[0]
    batch = [Waiting(InferRequest("m", None, []), None, 1, None, arrived) for arrived in arrivals]
    account.note_run(batch, timing, delivered_s)
    before = account.statistics()

    account.note_run(batch, timing, delivered_s)

    assert before.execution_count == before.histograms["rows"].count == 1
    assert account.statistics().execution_count == 2


def test_a_version_keeps_its_account_and_nothing_is_never() -> None:
    accounts = Accounts()

    assert accounts.of("m", 1) is accounts.of("m", 1)
    assert accounts.of("m", 2).statistics().last_inference_ms == 0
