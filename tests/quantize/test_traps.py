"""The ways in which calibration data lies: shared with the evaluation, constant, of another scale. Each is caught."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlserve.core.digests import digest_file
from mlserve.core.evidence import Evidence, read_sidecar
from mlserve.errors import InvalidInput
from mlserve.quantize.coverage import Coverage, TensorCoverage, coverage_objections
from mlserve.quantize.quantizing import quantize
from mlserve.quantize.reporting import QuantizeReport
from tests import models
from tests.quantize.test_int8 import convolutions, images

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HELD_OUT = images(150, 2)


@pytest.fixture(autouse=True)
def model() -> Path:
    return models.saved(convolutions(), Path("model.onnx"))


def run(rows: np.ndarray, evaluation: np.ndarray | None = HELD_OUT, **options: Any) -> QuantizeReport:
    """The gate's own bound lets everything pass, so that what is refused is refused for its data."""
    np.savez("calibration.npz", image=rows)
    if evaluation is not None:
        np.savez("evaluation.npz", image=evaluation)
    return quantize(
        Path("model.onnx"),
        Path("out.onnx"),
        method="int8",
        calibrate=Path("calibration.npz"),
        evaluate=None if evaluation is None else Path("evaluation.npz"),
        metric="cosine",
        max_drop=2.0,
        by="tester",
        now=NOW,
        **options,
    )


def evidence(kind: str) -> Evidence:
    return next(item for item in read_sidecar(Path("out.onnx"), digest_file(Path("out.onnx"))) if item.kind == kind)


def test_calibration_rows_are_left_out_of_the_evaluation_and_counted() -> None:
    shared = np.concatenate([images(200, 1), HELD_OUT[5:25]])

    report = run(shared)

    assert report.metric is not None
    assert (report.passed, report.metric.rows) == (True, 130)
    assert "20 of the 150 evaluation rows were calibrated on, and are left out" in report.notes
    assert evidence("calibration").figure("dropped_rows") == 20
    assert evidence("accuracy").figure("dropped_rows") == 20
    assert evidence("accuracy").figure("rows") == 130


def test_evaluation_data_that_is_mostly_calibration_data_is_no_evaluation() -> None:
    with pytest.raises(InvalidInput, match=r"31 of the 150 rows of 'evaluation\.npz' are among those calibrated on"):
        run(np.concatenate([images(200, 1), HELD_OUT[:31]]))

    assert not Path("out.onnx").exists()


def test_labels_do_not_make_a_row_another_one() -> None:
    np.savez("calibration.npz", image=HELD_OUT, label=np.zeros(150))
    np.savez("evaluation.npz", image=HELD_OUT, label=np.ones(150))

    with pytest.raises(InvalidInput, match="150 of the 150 rows"):
        quantize(
            Path("model.onnx"),
            Path("out.onnx"),
            method="int8",
            calibrate=Path("calibration.npz"),
            evaluate=Path("evaluation.npz"),
            by="tester",
            now=NOW,
        )


@pytest.mark.parametrize(
    "calibration",
    [
        pytest.param(np.full((100, 1, 12, 12), 1e-3, np.float32), id="one row over and over"),
        pytest.param(images(100, 1) * 1e-6 + 1e-3, id="nearly one"),
        pytest.param(images(100, 1) / 16, id="too small"),
    ],
)
def test_calibration_data_that_cuts_off_what_the_model_sees_is_refused(calibration: np.ndarray) -> None:
    report = run(calibration)

    assert report.output is None
    assert any("of the values of 'image'" in reason and "% are cut off" in reason for reason in report.reasons)


@pytest.mark.parametrize("scale", [16, 255])
def test_calibration_data_of_a_larger_scale_is_refused(scale: int) -> None:
    report = run(images(100, 1) * scale)

    assert report.output is None
    assert any("the range of 'image' is used to" in reason for reason in report.reasons)
    assert report.calibration is not None
    assert report.calibration.coverage is not None
    assert report.calibration.coverage.tensors[0].used == pytest.approx(1 / scale, rel=0.01)


def test_one_row_over_and_over_is_told_without_evaluation_data_too() -> None:
    report = run(np.repeat(images(1, 1), 100, axis=0), None)

    assert report.reasons == ("the calibration data is one row, 100 times over",)


@pytest.mark.parametrize("rule", ["minmax", "entropy", "percentile"])
def test_calibration_data_of_the_same_kind_covers_by_every_rule(rule: Any) -> None:
    report = run(images(100, 1), calibration=rule)

    assert report.passed
    found = evidence("calibration")
    assert found.passed
    assert found.data_digest == digest_file(Path("calibration.npz"))
    clipped, used = found.figure("clipped"), found.figure("used")
    assert clipped is not None
    assert used is not None
    assert clipped < 0.01
    assert used > 0.5


def test_force_writes_it_all_the_same_and_the_evidence_says_no() -> None:
    report = run(images(100, 1) / 16, force=True)

    assert report.is_forced
    assert evidence("calibration").passed is False
    assert evidence("quantization").passed is False
    assert evidence("accuracy").passed is True


def test_what_a_rule_cuts_by_choice_is_not_held_against_the_data() -> None:
    by_choice = TensorCoverage("h", -1.0, 1.0, clipped=0.2, used=1.0, cut=0.19)
    by_chance = TensorCoverage("h", -1.0, 1.0, clipped=0.2, used=1.0)

    assert coverage_objections(Coverage((by_choice,), 100)) == []
    assert len(coverage_objections(Coverage((by_chance,), 100))) == 1
