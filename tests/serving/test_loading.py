"""From a file to a version that answers."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from mlserve.core.dtypes import DType
from mlserve.core.settings import Buckets
from mlserve.errors import InvalidInput, NotFound
from mlserve.runtime.certificate import Certificate
from mlserve.runtime.golden import make_golden
from mlserve.runtime.model import load_model
from mlserve.runtime.threads import ThreadPlan
from mlserve.serving.batching import Waiting
from mlserve.serving.loaded import Loaded
from mlserve.serving.loading import UNKNOWN_COSTS, Fetched, LoadOptions, Wanted, load_version
from mlserve.serving.seam import Answer, InferRequest, InputTensor
from tests import models

OPTIONS = LoadOptions("cpu", ThreadPlan(2, 1), None, warmup_s=5.0)
FORGED = Certificate(True, "exact", 0.0, 0, "forged", "CPUExecutionProvider", 1)


def wanted(tmp_path: Path, proto: onnx.ModelProto, **more: Any) -> Wanted:
    path = models.saved(proto, tmp_path / "model.onnx")
    return Wanted("m", 3, ("production",), "d", lambda: Fetched(path, **more))


def golden(proto: onnx.ModelProto, rows: dict[str, Any]) -> bytes:
    return make_golden(load_model(proto.SerializeToString(), device="cpu"), rows)


def test_a_version_is_loaded_certified_and_timed(tmp_path: Path) -> None:
    loaded = load_version(wanted(tmp_path, models.classifier()), OPTIONS)

    assert (loaded.name, loaded.version, loaded.digest) == ("m", 3, "d")
    assert loaded.certificate.batchable
    assert loaded.max_rows > 1
    assert loaded.view.providers == ("CPUExecutionProvider",)


def test_a_model_that_is_not_batchable_runs_one_request_a_time(tmp_path: Path) -> None:
    loaded = load_version(wanted(tmp_path, models.fixed_shape()), OPTIONS)

    assert not loaded.view.is_batchable
    assert loaded.max_rows == 1


def test_a_model_with_control_flow_or_a_slow_one_runs_in_lanes(tmp_path: Path) -> None:
    assert not load_version(wanted(tmp_path, models.with_control_flow()), OPTIONS).is_inline
    assert not load_version(wanted(tmp_path, models.slow(width=256, layers=128)), OPTIONS).is_inline


def test_the_batch_size_asked_for_is_taken(tmp_path: Path) -> None:
    options = replace(OPTIONS, max_batch=5)

    assert load_version(wanted(tmp_path, models.classifier()), options).max_rows == 5
    assert load_version(wanted(tmp_path, models.fixed_shape()), options).max_rows == 1


def test_a_certificate_is_believed_where_it_was_made_and_made_again_elsewhere(tmp_path: Path) -> None:
    here = load_version(wanted(tmp_path, models.classifier(), certificate=FORGED), OPTIONS)
    elsewhere = load_version(wanted(tmp_path, models.classifier(), certificate=replace(FORGED, threads=9)), OPTIONS)

    assert here.certificate is FORGED
    assert elsewhere.certificate.reason != "forged"


def test_golden_rows_are_checked_and_used_for_the_probe(tmp_path: Path) -> None:
    rows = {"x": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)}
    proto = models.classifier(seed=0)

    loaded = load_version(wanted(tmp_path, proto, golden=golden(proto, rows)), OPTIONS)

    assert loaded.certificate.batchable
    with pytest.raises(InvalidInput, match="golden rows"):
        load_version(wanted(tmp_path, models.classifier(seed=1), golden=golden(proto, rows)), OPTIONS)


@pytest.mark.parametrize(
    ("proto", "rows"),
    [
        pytest.param(models.scalar(), np.array(2, np.float32), id="scalar"),
        pytest.param(models.fixed_shape(rows=2), np.ones((2, 4), np.float32), id="fixed shape"),
        pytest.param(models.batch_dependent(), np.ones((2, 4), np.float32), id="not batchable"),
        pytest.param(models.batch_dependent(), np.ones((0, 4), np.float32), id="no rows"),
    ],
)
def test_golden_rows_warm_up_any_model(
    proto: onnx.ModelProto, rows: np.ndarray, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_version(wanted(tmp_path, proto, golden=golden(proto, {"x": rows})), OPTIONS)

    assert not loaded.certificate.batchable
    assert caplog.text == ""


def test_made_up_rows_that_the_model_refuses_are_a_note_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gather", ["table", "ids"], ["y"])],
        "g",
        [value("ids", onnx.TensorProto.INT64, ["n"])],
        [value("y", onnx.TensorProto.FLOAT, ["n"])],
        [onnx.numpy_helper.from_array(np.zeros(1, np.float32), "table")],
    )
    proto = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 20)])

    with caplog.at_level(logging.WARNING):
        loaded = load_version(wanted(tmp_path, proto, certificate=FORGED), OPTIONS)

    assert "m:3 refused the warm-up rows made up for it" in caplog.text
    assert loaded.is_inline is UNKNOWN_COSTS.is_inline is False


def test_what_cannot_be_loaded_is_raised(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")

    with pytest.raises(InvalidInput, match=r"bad\.onnx' cannot be loaded"):
        load_version(Wanted("m", 1, (), None, lambda: Fetched(tmp_path / "bad.onnx")), OPTIONS)
    with pytest.raises(NotFound):
        load_version(Wanted("m", 1, (), None, lambda: Fetched(tmp_path / "none.onnx")), OPTIONS)


@pytest.mark.parametrize("max_batch", [None, 7])
def test_every_number_of_rows_that_can_run_was_run_before_the_version_may_answer(
    tmp_path: Path, max_batch: int | None
) -> None:
    loaded = load_version(wanted(tmp_path, models.classifier()), replace(OPTIONS, max_batch=max_batch))

    assert sorted(loaded.warmed) == list(range(1, loaded.max_rows + 1))
    assert load_version(wanted(tmp_path, models.fixed_shape()), OPTIONS).warmed == (1,)


def test_a_slow_model_is_warm_in_bounded_time_at_one_row_at_least(tmp_path: Path) -> None:
    options = replace(OPTIONS, max_batch=64, warmup_s=0.0)

    warmed = load_version(wanted(tmp_path, models.slow(width=256, layers=64)), options).warmed

    assert warmed[0] == 1
    assert len(warmed) < 64


def test_with_a_lattice_its_sizes_are_what_is_run(tmp_path: Path) -> None:
    options = replace(OPTIONS, max_batch=12, has_lattice=True, preferred=(6, 24))

    loaded = load_version(wanted(tmp_path, models.classifier()), options)

    assert sorted(loaded.warmed) == [1, 2, 4, 6, 8, 12]
    assert loaded.view.cuda_graphs == ""


def _answer(loaded: Loaded, rows: int, seed: int) -> list[Any]:
    values = np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)
    request = InferRequest("m", None, [InputTensor("x", DType.FLOAT32, values.shape, values)])
    count, key = loaded.intake.admit(request)
    (run,) = loaded.execute([Waiting(request, None, count, key, 0.0)])
    (answer,) = run.answers()
    assert isinstance(answer, Answer), answer
    return [output.array() for output in answer.outputs]


def test_requests_are_answered_alike_with_a_lattice_and_without_also_beyond_it(tmp_path: Path) -> None:
    options = replace(OPTIONS, max_batch=12)
    plain = load_version(wanted(tmp_path, models.labelled_classifier()), options)
    fixed = load_version(wanted(tmp_path, models.labelled_classifier()), replace(options, has_lattice=True))

    for rows in range(1, 40):
        for one, other in zip(_answer(plain, rows, rows), _answer(fixed, rows, rows), strict=True):
            assert one.shape == other.shape
            np.testing.assert_array_equal(one, other)


def test_a_version_with_a_lattice_lets_its_buffers_go_when_it_is_drained(tmp_path: Path) -> None:
    loaded = load_version(wanted(tmp_path, models.classifier()), replace(OPTIONS, has_lattice=True))
    fixed = loaded._fixed
    assert fixed is not None
    assert fixed.slots

    loaded.retire()

    assert not fixed.slots


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        pytest.param("off", "off", id="off"),
        pytest.param("on", "refused: no input is a mask over a dynamic axis", id="on and not proven"),
        pytest.param("auto", "refused: no input is a mask over a dynamic axis", id="auto and not proven"),
    ],
)
def test_buckets_asked_for_and_not_proven_are_told_in_the_view_and_the_log(
    tmp_path: Path, asked: Buckets, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = replace(OPTIONS, length_buckets=asked)

    loaded = load_version(wanted(tmp_path, models.sequence_lengths()), options)

    assert loaded.view.padding == shown
    assert ("m:3 has no length buckets: no input is a mask" in caplog.text) is (asked == "on")


def test_a_model_in_a_lane_runs_from_two_sessions_that_share_their_weights(tmp_path: Path) -> None:
    options = replace(OPTIONS, lone_max_bytes=1 << 30)

    loaded = load_version(wanted(tmp_path, models.slow(width=256, layers=128)), options)

    assert loaded.view.lone_session == "exact"
    assert sorted(loaded.warmed) == list(range(1, loaded.max_rows + 1))
