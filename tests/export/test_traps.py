"""Where converters go wrong without a word, and that ``export`` does not: each trap is shown to be there first."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import skl2onnx
import torch
from onnx import helper
from sklearn.datasets import load_diabetes
from sklearn.ensemble import HistGradientBoostingRegressor

from mlserve.graph.document import load_graph
from tests.export.exports import answers, pickled, run_export, saved_rows

CPU = ["CPUExecutionProvider"]


class Named(torch.nn.Module):
    """Its second output has the name that torch gives to the value before it."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        total = x.sum(1)
        return {"total": total + 1, "sum_1": total * 2}


def test_an_output_called_as_an_inner_value() -> None:
    x = torch.randn(3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = torch.onnx.export(
            Named(), (x,), dynamo=True, verbose=False, output_names=["total", "sum_1"], optimize=False
        )
    with pytest.raises(Exception, match=r"(?i)duplicate|not an output|invalid"):
        ort.InferenceSession(plain.model_proto.SerializeToString(), providers=CPU)
    Path("own.py").write_text("from tests.export.test_traps import Named\n")

    report = run_export("own.py:Named", sample=saved_rows(x=x.numpy()))

    assert report.passed
    given = answers(Path("out.onnx"), {"x": x.numpy()})["sum_1"]
    np.testing.assert_allclose(given, (x.sum(1) * 2).numpy(), rtol=1e-5)


LEGACY = '''
import io, warnings
import numpy as np, onnx, torch
from mlserve.export.exporter import Conversion


class LegacyExporter:
    """torch's older exporter: it takes lengths that code has made whole numbers of for constants."""

    suffixes, packages = (), ()

    def convert(self, request):
        module, (example,) = request.loaded
        written = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module.eval(), (example,), written, dynamo=False, opset_version=17, input_names=["x"],
                output_names=["y"], dynamic_axes={"x": {0: "batch", 1: "sequence"}, "y": {0: "batch", 1: "sequence"}})

        def predict(inputs):
            with torch.no_grad():
                return {"y": module(torch.from_numpy(np.ascontiguousarray(inputs["x"]))).numpy()}

        model = onnx.load_from_string(written.getvalue())
        return Conversion(model, predict, ("torch",), example={"x": example.numpy()})


def encoder():
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    return torch.nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), (torch.randn(2, 7, 8),)


class Rows(torch.nn.Module):
    def forward(self, x):
        return x.reshape(int(x.shape[0]), -1, 4) * 2


def rows():
    return Rows(), (torch.randn(2, 7, 8),)
'''


@pytest.fixture
def legacy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exporter above, as an installed package brings one."""
    installed = Path("installed").absolute()
    info = installed / "legacy_exporter-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: legacy-exporter\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[mlserve.exporters]\nlegacy = legacy_exporter:LegacyExporter\n")
    (installed / "legacy_exporter.py").write_text(LEGACY)
    monkeypatch.syspath_prepend(str(installed))


@pytest.mark.usefixtures("legacy")
@pytest.mark.parametrize(
    ("model", "failed"),
    [
        pytest.param("rows", {"batch of 1", "batch of 3"}, id="batch of any code"),
        pytest.param("encoder", {"sequence of 3", "sequence of 10"}, id="length of a transformer"),
    ],
)
def test_a_shape_written_into_the_graph_is_refused_and_nothing_is_written(model: str, failed: set[str]) -> None:
    report = run_export(f"legacy_exporter:{model}", framework="legacy")

    sample, *others = report.parity.checks
    assert sample.passed, "the trap: at the example's own shape the graph is right"
    assert not report.passed
    assert {check.name for check in others if not check.passed} >= failed
    assert not Path("out.onnx").exists()


@pytest.mark.usefixtures("legacy")
@pytest.mark.parametrize("model", ["rows", "encoder"])
def test_the_same_models_by_our_exporter_take_any_batch_and_length(model: str) -> None:
    report = run_export(f"legacy_exporter:{model}", framework="torch", dynamic="1=sequence")

    assert report.reasons == ()
    assert {check.name for check in report.parity.checks} >= {"batch of 1", "batch of 3", "sequence of 3"}


def test_thresholds_of_histogram_boosting_between_two_float32() -> None:
    table, target = load_diabetes(return_X_y=True)
    table = table.astype(np.float32)
    model = HistGradientBoostingRegressor(random_state=0).fit(table[:300].astype(np.float64), target[:300])
    held = table[300:]
    wanted = model.predict(held.astype(np.float64))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = skl2onnx.to_onnx(model, table[:1], target_opset={"": 17, "ai.onnx.ml": 3})
    (naive,) = ort.InferenceSession(plain.SerializeToString(), providers=CPU).run(None, {"X": held})
    assert (np.abs(naive.ravel() - wanted) > 1).any(), "the trap: rows on a threshold go the other way"

    report = run_export(pickled(model), sample=saved_rows(input=held), allow_pickle=True)

    assert (report.passed, report.parity.rows_over, report.parity.rows) == (True, 0, 142)


def newest() -> Any:
    """A graph as onnx itself writes one today."""
    node = helper.make_node("Relu", ["x"], ["y"])
    values = [[helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 2])] for name in "xy"]
    return helper.make_model(helper.make_graph([node], "g", *values))


def test_the_ir_of_today_is_brought_down_to_what_the_runtime_loads() -> None:
    onnx.save(newest(), "in.onnx")
    with pytest.raises(Exception, match="Unsupported model IR version"):
        ort.InferenceSession("in.onnx", providers=CPU)

    run_export("in.onnx")

    assert load_graph(Path("out.onnx")).ir_version == 10
    assert answers(Path("out.onnx"), {"x": np.float32([[-1, 2]])})["y"].tolist() == [[0, 2]]
