"""Operators of onnxruntime-extensions are there for graphs that ask for them, and for those alone."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mlserve.errors import InvalidInput, MissingExtra
from mlserve.runtime.extensions import DOMAIN, library, read_domains
from mlserve.runtime.model import load_model
from mlserve.runtime.sharing import open_sharing
from mlserve.runtime.threads import ThreadPlan
from tests import models


def test_a_graph_with_operators_of_the_domain_runs_from_a_file_and_from_bytes(tmp_path: Path) -> None:
    path = models.saved(_upper(), tmp_path / "upper.onnx")

    for source in (path, path.read_bytes()):
        answer = load_model(source, device="cpu").run({"text": np.array(["oslo", ""], object)})

        assert answer["upper"].tolist() == ["OSLO", ""]


def test_sessions_that_share_weights_have_them_too(tmp_path: Path) -> None:
    path = models.saved(_upper(), tmp_path / "upper.onnx")

    opened = open_sharing(path, [ThreadPlan(1, 1), ThreadPlan(1, 2)])

    assert [model.run({"text": np.array(["a"], object)})["upper"].tolist() for model in opened] == [["A"], ["A"]]


def test_without_the_package_only_such_graphs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_extensions", None)  # as Python has it for what cannot be imported
    path = models.saved(_upper(), tmp_path / "upper.onnx")

    with pytest.raises(MissingExtra) as caught:
        load_model(path, device="cpu")

    assert caught.value.exit_code == 6
    assert caught.value.hint == "pip install 'mlserve[text]'"
    assert load_model(models.saved(models.strings(), tmp_path / "plain.onnx"), device="cpu").signature


def test_the_library_is_found_without_importing_its_package() -> None:
    before = "onnxruntime_extensions" in sys.modules

    assert library().is_file()
    assert ("onnxruntime_extensions" in sys.modules) is before


def test_domains_are_read_whatever_the_weights(tmp_path: Path) -> None:
    assert read_domains(models.saved(_upper(), tmp_path / "upper.onnx")) == {"", DOMAIN}
    assert read_domains(models.strings().SerializeToString()) == {"", "ai.onnx.ml"}
    assert read_domains(models.classifier().SerializeToString()) == {""}


def test_a_file_cut_short_has_no_domains() -> None:
    content = _upper().SerializeToString()

    with pytest.raises(InvalidInput):
        read_domains(content[: len(content) - 3])


def _upper() -> onnx.ModelProto:
    """``text`` string [batch] → ``upper``, in capitals."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("StringUpper", ["text"], ["upper"], domain=DOMAIN)],
        "upper",
        [value("text", TensorProto.STRING, ["batch"])],
        [value("upper", TensorProto.STRING, ["batch"])],
    )
    opsets = [helper.make_opsetid("", models.OPSET), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, ir_version=models.IR, opset_imports=opsets)
