"""A reference becomes a profile: everything a check begins from, in one file of no code, the same each time."""

from __future__ import annotations

import io
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlserve.drift.effects import effect
from mlserve.drift.fitting import FitPlan, fit
from mlserve.drift.noise import LEAST, Noise, noise_of
from mlserve.drift.numeric import NumericSummary, edges_of
from mlserve.drift.profile import SCHEMA_ID, digest_of, from_bytes, to_bytes
from mlserve.drift.said import Said, SaidFeature
from mlserve.drift.scanning import blocks_of_sample
from mlserve.drift.schema import Kind
from mlserve.errors import InvalidInput, Unsupported
from tests.drift.making import DIGEST, SIGNATURE, START, TableSource, fitted, labels_of, rows_of, run, source, times_of


@pytest.fixture(scope="module")
def profile():
    return fitted()


def test_a_profile_has_a_summary_of_every_feature_and_of_predictions(profile) -> None:
    features = ["amount", "age", "visits", "plan"]
    predictions = ["class", "score", "confidence", "margin", "entropy", "error", "loss"]

    assert [feature.name for feature in profile.schema.features] == features
    assert profile.schema.feature("visits").kind is Kind.CATEGORICAL
    assert set(profile.summaries) == {*features, *(f"prediction.{name}" for name in predictions)}
    assert all(summary.rows == 4000 for summary in profile.summaries.values())
    assert profile.summaries["plan"].counts == dict(
        zip(*np.unique(rows_of()["plan"].astype(str), return_counts=True), strict=True)
    )


def test_a_profile_knows_its_reference(profile) -> None:
    reference = profile.reference

    assert (reference.rows, reference.labelled, reference.predicted) == (4000, 4000, 4000)
    assert reference.start == START
    assert reference.end == START + timedelta(days=10) * (3999 / 4000)
    assert reference.rows_per_s == pytest.approx(4000 / 864_000, rel=1e-3)


def test_the_model_is_calibrated_as_its_labels_say(profile) -> None:
    assert sum(one.rows for one in profile.calibration) == pytest.approx(4000)
    # 15 bins of 267 rows: three standard errors of a share.
    assert all(abs(one.predicted - one.observed) < 0.1 for one in profile.calibration)


def test_a_profile_comes_back_from_its_bytes(profile) -> None:
    content = to_bytes(profile)
    read = from_bytes(content)

    assert read.document() == profile.document()
    assert digest_of(to_bytes(read)) == digest_of(content)
    for name, values in profile.sample.columns.items():
        np.testing.assert_array_equal(read.sample.columns[name], values)
    assert read.sample.columns["input.x"].dtype == np.float32


def test_the_same_reference_has_the_same_digest_and_another_has_another(profile) -> None:
    again, other = fitted(), fit(source(seed=5), FitPlan(DIGEST, SIGNATURE), run)

    assert digest_of(to_bytes(again)) == digest_of(to_bytes(profile))
    assert digest_of(to_bytes(other)) != digest_of(to_bytes(profile))


def test_a_profile_is_a_parquet_file_that_others_read(profile) -> None:
    table = pq.read_table(io.BytesIO(to_bytes(profile)))

    assert table.num_rows == 4000
    assert {"input.x", "input.plan", "output.p", "column.prediction.score", "label", "time"} < set(table.column_names)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"PAR1 and no more", id="damaged"),
        pytest.param(pa.BufferOutputStream().getvalue().to_pybytes(), id="empty"),
    ],
)
def test_other_bytes_are_no_profile(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="no drift profile"):
        from_bytes(content)


def test_a_newer_profile_is_refused(profile) -> None:
    table = pq.read_table(io.BytesIO(to_bytes(profile)))
    newer = table.schema.metadata[b"mlserve.drift.profile"].replace(SCHEMA_ID.encode(), b"mlserve.drift.profile/2")
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({b"mlserve.drift.profile": newer}), sink)

    with pytest.raises(Unsupported, match="newer mlserve"):
        from_bytes(sink.getvalue())


def test_what_windows_of_the_reference_itself_differ_by_stays_below_the_threshold(profile) -> None:
    over = 0
    random = np.random.default_rng(8)
    inputs = rows_of(4000)
    for _ in range(200):
        drawn = random.choice(4000, 500, replace=False)
        window = profile.summaries["amount"].empty()
        window.add(inputs["x"][drawn, 0])
        over += effect(profile.summaries["amount"], window) >= profile.noise["amount"].threshold(500)

    # 1 % are expected at most; 8 of 200 come by chance once in a thousand such tests.
    assert over < 8


def test_a_shift_of_half_a_standard_deviation_is_beyond_the_threshold(profile) -> None:
    window = profile.summaries["amount"].empty()
    window.add(rows_of(500, seed=3, shift=0.5)["x"][:, 0])

    assert effect(profile.summaries["amount"], window) > profile.noise["amount"].threshold(500)


def test_thresholds_fall_with_the_rows_but_not_below_what_matters(profile) -> None:
    noise = profile.noise["age"]

    thresholds = [noise.threshold(rows) for rows in (10, 50, 100, 500, 5000, 10**7)]

    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[-1] == LEAST["wasserstein_sd"]


def test_what_changes_from_day_to_day_anyway_raises_the_threshold() -> None:
    inputs = rows_of(8000)
    inputs["x"][:, 0] += np.sin(np.arange(8000) / 400).astype(np.float32)
    steady = fit(TableSource(inputs), FitPlan(DIGEST, SIGNATURE), None)
    seasonal = fit(TableSource(inputs, times=times_of(8000)), FitPlan(DIGEST, SIGNATURE), None)

    assert steady.noise["amount"].by_time is None
    assert seasonal.noise["amount"].by_time is not None
    assert seasonal.noise["amount"].threshold(5000) > 2 * steady.noise["amount"].threshold(5000)


def test_a_rest_of_few_rows_at_the_end_does_not_raise_the_threshold() -> None:
    rows = 64 * 256 + 20
    inputs = rows_of(rows)
    inputs["x"][-20:, 0] += 3
    found = fit(TableSource(inputs, times=times_of(rows)), FitPlan(DIGEST, SIGNATURE), None).noise["amount"]

    assert found.piece_rows == 1024
    # Twenty rows three deviations away would make it about three; pieces of 1024 rows of one world differ by
    # chance only.
    assert found.threshold(5000) < 0.15


def test_a_column_without_a_value_has_no_noise_and_no_error() -> None:
    empty = NumericSummary(edges_of(np.full(3, np.nan)))

    assert noise_of("gone", empty) == Noise("wasserstein_sd", (), ())
    assert noise_of("gone", empty).threshold(100) == LEAST["wasserstein_sd"]


def test_answers_that_the_reference_has_are_not_asked_for_again() -> None:
    inputs = rows_of(500)

    def never(_: object) -> dict[str, np.ndarray]:
        raise AssertionError("the model was asked")

    found = fit(TableSource(inputs, outputs=run(inputs)), FitPlan(DIGEST, SIGNATURE), never)

    assert found.summaries["prediction.score"].rows == 500


def test_a_large_reference_is_answered_only_where_it_is_sampled() -> None:
    asked = []

    def counting(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        asked.append(len(inputs["x"]))
        return run(inputs)

    inputs = rows_of(3000)
    plan = FitPlan(DIGEST, SIGNATURE, sample_rows=300, predict_rows=1000)
    found = fit(TableSource(inputs, labels_of(inputs)), plan, counting)

    assert sum(asked) < 1500
    assert found.summaries["prediction.score"].rows == found.reference.predicted == 300
    assert len(found.sample.columns["column.prediction.score"]) == found.sample.rows
    assert found.calibration


def test_too_few_rows_are_no_reference() -> None:
    with pytest.raises(InvalidInput, match="49 rows, and 50 are needed"):
        fit(source(49), FitPlan(DIGEST, SIGNATURE), run)


def test_said_bounds_are_counted_against() -> None:
    found = fitted(500, said=Said(features={"age": SaidFeature(low=20.0)}))

    assert found.summaries["age"].below == int((rows_of(500)["x"][:, 1] < 20).sum())


def test_the_sample_comes_back_as_rows(profile) -> None:
    (block,) = blocks_of_sample(profile.sample.uniform())

    assert block.rows == 4000
    assert block.inputs["x"].shape == (4000, 3)
    np.testing.assert_array_equal(block.labels, labels_of(rows_of()))
