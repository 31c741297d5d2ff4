"""Sums of families are those of one process that did it all."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from mlserve.core.histograms import Histogram
from mlserve.serving.metrics.exposition import text_of
from mlserve.serving.metrics.families import Family, Point, merged

M = (("model", "m"), ("version", "1"))
N = (("model", "n"), ("version", "1"))


def some(value: float, *counts: int) -> list[Family]:
    return [
        Family("runs", "counter", "Runs.", [Point(M, value)]),
        Family("nv_runs", "untyped", "Runs.", [Point(M, value)]),
        Family("waiting", "gauge", "Waiting.", [Point(M, value)]),
        Family("build", "info", "Version.", [Point((("version", "1.0"),), 1.0)]),
        Family("took", "histogram", "Time.", [Point(M, histogram=Histogram((1.0, 2.0), list(counts), 2.5))]),
    ]


def samples(families: list[Family]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    parsed = text_string_to_metric_families(text_of(families).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value for one in parsed for sample in one.samples
    }


def test_workers_are_summed_and_what_is_the_same_everywhere_stands_once() -> None:
    found = samples(merged([some(3.0, 1, 2, 3), some(4.0, 1, 0, 1)]))

    assert found["runs_total", M] == found["nv_runs", M] == found["waiting", M] == 7.0
    assert found["build", (("version", "1.0"),)] == 1.0
    assert found["took_count", M] == 8.0
    assert found["took_sum", M] == 5.0
    assert [found["took_bucket", (("le", le), *M)] for le in ("1.0", "2.0", "+Inf")] == [2.0, 4.0, 8.0]


def test_merging_leaves_what_it_was_given_as_it_was() -> None:
    mine, theirs = some(3.0, 1, 2, 3), some(4.0, 1, 0, 1)

    merged([mine, theirs])

    assert mine == some(3.0, 1, 2, 3)


def test_models_that_only_one_worker_has_are_kept() -> None:
    other = [Family("runs", "counter", "Runs.", [Point(N, 5.0)])]

    found = samples(merged([some(3.0, 1, 0, 0), other]))

    assert (found["runs_total", M], found["runs_total", N]) == (3.0, 5.0)


def test_a_family_without_values_is_left_out() -> None:
    assert text_of([Family("runs", "counter", "Runs.", [])]) == b""


def test_labels_of_any_text_are_escaped() -> None:
    strange = (("model", 'a"b\\c\nd'),)

    assert samples([Family("runs", "counter", "Runs.", [Point(strange, 1.0)])])["runs_total", strange] == 1.0
