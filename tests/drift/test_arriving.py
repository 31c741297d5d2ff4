"""A window read through: counted in the reference's cells, answered, sampled, and named by what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.drift.arriving import WindowRows, read_window
from mlserve.drift.blocks import Block
from mlserve.drift.effects import effect
from mlserve.drift.file_window import FileWindow
from mlserve.drift.fitting import FitPlan, fit
from mlserve.drift.judgements import Severity, worst
from mlserve.drift.profile import Profile, from_bytes, to_bytes
from mlserve.drift.quality import judge_quality
from mlserve.drift.windows import Bounds
from tests.drift.making import DIGEST, SIGNATURE, START, TableSource, fitted, labels_of, rows_of, run, source, times_of

UNBOUND = Bounds(None, None)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return from_bytes(to_bytes(fitted()))


class Ragged(TableSource):
    """Sequences whose lengths differ from block to block."""

    def __init__(self, parts: list[np.ndarray]) -> None:
        super().__init__({"tokens": parts[0]})
        self.parts = parts
        self.total_rows = None

    def blocks(self, rows: int = 0) -> Iterator[Block]:
        start = 0
        for part in self.parts:
            yield Block(start, len(part), {"tokens": part})
            start += len(part)


def read(profile: Profile, given: TableSource, **options: object) -> WindowRows:
    return read_window(profile, given, run, bounds=UNBOUND, **options)  # type: ignore[arg-type]


def test_a_window_has_what_every_layer_needs(profile: Profile) -> None:
    window = read(profile, source(900, seed=6))

    assert (window.rows, window.predicted, window.labelled) == (900, 900, 900)
    assert set(window.arrived.summaries) == set(profile.summaries)
    assert window.sample.rows == 900
    assert {"input.x", "output.p", "label", "time", "column.prediction.score"} < set(window.sample.columns)
    assert window.arrived.start == START
    assert worst(judge_quality(profile, window.arrived)) is Severity.NONE


def test_the_same_rows_are_the_same_window_in_any_order(profile: Profile) -> None:
    inputs = rows_of(500, seed=2)
    labels, times = labels_of(inputs), times_of(500)
    order = np.random.default_rng(0).permutation(500)
    shuffled = TableSource({name: array[order] for name, array in inputs.items()}, labels[order], times[order])
    late = labels.astype(float)
    late[7] = np.nan

    first = read(profile, TableSource(inputs, labels, times))

    assert read(profile, shuffled).digest == first.digest
    assert read(profile, TableSource(inputs, late, times)).digest != first.digest
    assert read(profile, TableSource(inputs, labels, times_of(500, days=9))).digest != first.digest
    assert read(profile, source(499, seed=2)).digest != first.digest


def test_a_window_that_moved_is_seen_in_features_and_predictions(profile: Profile) -> None:
    window = read(profile, source(900, seed=6, shift=1.0))

    moved = {name: effect(profile.summaries[name], window.arrived.summaries[name]) for name in profile.summaries}

    assert moved["amount"] == pytest.approx(1.0, abs=0.1)
    assert moved["age"] < profile.noise["age"].threshold(900)
    assert moved["prediction.score"] > profile.noise["prediction.score"].threshold(900)


def test_a_large_window_is_answered_where_it_is_sampled(profile: Profile) -> None:
    window = read(profile, source(3000, seed=6), sample_rows=200, predict_rows=1000)

    assert window.predicted == window.arrived.summaries["prediction.score"].rows == 200
    assert len(window.sample.columns["column.prediction.score"]) == window.sample.rows


def test_a_window_of_another_version_has_no_rows_and_no_judgement(profile: Profile) -> None:
    window = read(profile, TableSource(rows_of(0)))

    assert (window.rows, window.sample.rows) == (0, 0)
    assert judge_quality(profile, window.arrived) == []


def test_a_files_faults_are_judged(profile: Profile, tmp_path: Path) -> None:
    rows = rows_of(300, seed=4)
    table = {"amount": rows["x"][:, 0], "age": ["old"] * 300, "plan": rows["plan"].tolist(), "shoe": [44] * 300}
    pq.write_table(pa.table(table), tmp_path / "w.parquet")

    window = read_window(profile, FileWindow(tmp_path / "w.parquet", profile.schema), run, bounds=UNBOUND)

    found = {(one.name, one.test): one.severity for one in judge_quality(profile, window.arrived) if one.severity}
    assert found[("visits", "missing")] is found[("age", "type")] is Severity.CRITICAL
    assert found[("shoe", "extra")] is Severity.LOW
    assert window.predicted == 0
    assert window.arrived.summaries["amount"].finite == 300


def test_a_file_with_nothing_of_the_model_is_all_missing(profile: Profile, tmp_path: Path) -> None:
    pq.write_table(pa.table({"shoe": [44] * 20}), tmp_path / "w.parquet")

    window = read_window(profile, FileWindow(tmp_path / "w.parquet", profile.schema), run, bounds=UNBOUND)

    missing = {one.name for one in judge_quality(profile, window.arrived) if one.test == "missing"}
    assert (window.rows, missing) == (20, {"amount", "age", "visits", "plan"})


def test_a_column_that_was_always_null_may_have_values(tmp_path: Path) -> None:
    empty = source(300)
    empty.inputs["x"][:, 1] = np.nan  # type: ignore[index]
    learned = from_bytes(to_bytes(fit(empty, FitPlan(DIGEST, SIGNATURE), run)))

    window = read(learned, source(300, seed=3))

    assert {one.test for one in judge_quality(learned, window.arrived) if one.name == "age" and one.severity} == set()


def test_sequences_of_many_lengths_are_watched_by_their_facets() -> None:
    signature = Signature((TensorSpec("tokens", DType.INT64, ("batch", "length")),), ())
    blocks = [np.random.default_rng(at).integers(0, 99, (20, 3 + at % 4)) for at in range(10)]
    learned = fit(Ragged(blocks), FitPlan(DIGEST, signature), None)

    assert list(learned.summaries) == ["tokens.mean", "tokens.norm", "tokens.spread"]
    assert learned.summaries["tokens.norm"].rows == 200
    assert "input.tokens" not in learned.sample.columns


def test_the_time_before_may_be_the_reference(profile: Profile) -> None:
    before = fit(source(700, seed=9, shift=2.0), FitPlan(DIGEST, SIGNATURE, terms=profile), run)
    window = read(before, source(600, seed=10, shift=2.0))

    assert before.schema == profile.schema
    assert effect(before.summaries["amount"], window.arrived.summaries["amount"]) < 0.2


def test_bounds_that_were_asked_for_are_the_windows(profile: Profile) -> None:
    bounds = Bounds(START, START + timedelta(days=20))
    window = read_window(profile, source(900, seed=6), run, bounds=bounds)

    assert (window.arrived.start, window.arrived.end) == (bounds.start, bounds.end)
    assert replace(window.arrived, last=None).last is None
