"""A second session with all cores is only there where it answers bit for bit as the first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mlserve.runtime.lone import Lone, open_lone
from mlserve.runtime.model import load_model
from mlserve.runtime.threads import ThreadPlan

TWO = ThreadPlan(2, 1)


def _saved(folder: Path, node: str, inputs: list[str]) -> Path:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])
    graph = helper.make_graph([helper.make_node(node, inputs, ["y"])], "g", [value], [answer])
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def _opened(path: Path, plan: ThreadPlan = TWO, max_bytes: int = 1 << 20) -> Lone:
    return open_lone(load_model(path, device="cpu", threads=plan), path, device="cpu", plan=plan, max_bytes=max_bytes)


def test_a_model_that_answers_alike_gets_a_session_with_all_cores(tmp_path: Path) -> None:
    lone = _opened(_saved(tmp_path, "Sqrt", ["x"]))

    assert lone.model is not None
    assert lone.model.threads == 2
    rows = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(lone.model.run({"x": rows})["y"], rows)


@pytest.mark.parametrize(
    ("plan", "max_bytes", "reason"),
    [
        pytest.param(TWO, 10, "bytes are more than 10", id="too-large"),
        pytest.param(ThreadPlan(1, 2), 1 << 20, "every run has all cores", id="one-lane"),
    ],
)
def test_without_a_second_session_there_is_a_reason(
    tmp_path: Path, plan: ThreadPlan, max_bytes: int, reason: str
) -> None:
    lone = _opened(_saved(tmp_path, "Sqrt", ["x"]), plan, max_bytes)

    assert lone.model is None
    assert reason in lone.reason


def test_answers_that_differ_between_the_sessions_are_refused(tmp_path: Path) -> None:
    model = load_model(_saved(tmp_path, "Sqrt", ["x"]), device="cpu", threads=TWO)
    other = _saved(tmp_path, "Neg", ["x"])

    lone = open_lone(model, other, device="cpu", plan=TWO, max_bytes=1 << 20)

    assert lone.model is None
    assert lone.reason == "more threads change the last bits of an answer"


def test_a_model_that_draws_random_numbers_is_refused_though_two_sessions_draw_the_same(tmp_path: Path) -> None:
    assert _opened(_saved(tmp_path, "RandomNormalLike", ["x"])) == Lone(None, "it draws random numbers")


def test_both_sessions_share_their_weights_and_the_first_is_replaced(tmp_path: Path) -> None:
    lone = _opened(_saved(tmp_path, "Sqrt", ["x"]))

    assert lone.main is not None
    assert lone.model is not None
    assert (lone.main.threads, lone.model.threads) == (1, 2)
    rows = np.full((3, 4), 2.0, np.float32)
    np.testing.assert_array_equal(lone.main.run({"x": rows})["y"], lone.model.run({"x": rows})["y"])


def test_where_weights_cannot_be_shared_the_second_session_has_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _saved(tmp_path, "Sqrt", ["x"])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "no such folder"))

    lone = _opened(path)

    assert lone.main is None
    assert lone.model is not None
    assert lone.model.threads == 2
