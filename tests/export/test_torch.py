"""PyTorch modules and programs, exported and compared."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlserve.errors import InvalidInput, NotFound, Unsupported, UsageError
from mlserve.export.torch import output_names
from mlserve.export.torch_inputs import argument_names, dynamic_axes
from tests.export.exports import answers, run_export, saved_rows

NETS = """
import torch
from torch import nn

class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))

    def forward(self, x):
        return self.layers(x)

class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 1)

    def forward(self, tokens):
        embedding = self.body(self.embed(tokens)).mean(1)
        return {"embedding": embedding, "norm": embedding.norm(dim=-1)}

class Clash(nn.Module):
    def forward(self, x, z):
        return {"x": x + 0, "sum_1": x.sum(1) + z}

class Same(nn.Module):
    def forward(self, x):
        return x, x

class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else x * 2

class Wordy(nn.Module):
    def forward(self, x):
        return x, "text"

class Variadic(nn.Module):
    def forward(self, *tensors):
        return tensors[0]

def mlp():
    print("building")
    return Mlp()

def encoder():
    return Encoder(), (torch.randint(0, 50, (2, 6)),)

def clash():
    return Clash(), {"x": torch.randn(2, 4), "z": torch.randn(2)}

def wrong_example():
    return Mlp(), ["not a tensor"]

instance = Mlp()
"""


@pytest.fixture(autouse=True)
def nets() -> None:
    Path("nets.py").write_text(NETS)


def floats(rows: int = 12, features: int = 4) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=(rows, features)).astype(np.float32)


def test_a_factory_is_exported_with_a_dynamic_batch() -> None:
    report = run_export("nets.py:mlp", sample=saved_rows(x=floats()))

    assert report.framework == "torch"
    assert report.passed
    assert [check.name for check in report.parity.checks] == ["sample", "batch of 1", "batch of 3"]
    assert [(spec.name, spec.dims) for spec in report.signature.inputs] == [("x", ("batch", 4))]
    assert [(spec.name, spec.dims) for spec in report.signature.outputs] == [("output", ("batch", 3))]


def test_what_the_users_code_prints_stays_off_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    run_export("nets.py:mlp", sample=saved_rows(x=floats()))

    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == "building\n"


def test_one_row_is_enough_of_a_sample() -> None:
    report = run_export("nets.py:Mlp", sample=saved_rows(x=floats(rows=1)))

    assert report.passed
    assert report.signature.batch_dim == "batch"


def test_a_csv_of_whole_numbers_feeds_a_layer_of_floats() -> None:
    Path("rows.csv").write_text("a,b,c,d,label\n1,2,3,4,0\n5,6,7,8,1\n")

    report = run_export("nets.py:Mlp", sample=Path("rows.csv"))

    assert report.passed


def test_a_sequence_axis_takes_any_length_and_outputs_keep_their_keys() -> None:
    report = run_export("nets.py:encoder", dynamic="tokens:1=sequence")

    assert report.reasons == ()
    assert [check.name for check in report.parity.checks][3:] == ["sequence of 3", "sequence of 9"]
    assert [(spec.name, spec.dims) for spec in report.signature.inputs] == [("tokens", ("batch", "sequence"))]
    assert [spec.name for spec in report.signature.outputs] == ["embedding", "norm"]


def test_a_fixed_sequence_axis_is_pointed_out() -> None:
    report = run_export("nets.py:encoder")

    assert any("axis 1 of 'tokens'" in note for note in report.notes)


def test_two_exports_give_the_same_bytes() -> None:
    sample = saved_rows(x=floats())

    first = run_export("nets.py:instance", Path("a.onnx"), sample=sample)
    second = run_export("nets.py:instance", Path("b.onnx"), sample=sample)

    assert first.digest == second.digest
    assert Path("a.onnx").read_bytes() == Path("b.onnx").read_bytes()


def test_nothing_of_the_users_source_is_in_the_file() -> None:
    run_export("nets.py:Mlp", sample=saved_rows(x=floats()))

    content = Path("out.onnx").read_bytes()
    assert b"nets.py" not in content
    assert b"stack_trace" not in content


def test_outputs_named_as_inner_values_or_inputs_still_load() -> None:
    report = run_export("nets.py:clash")

    assert report.reasons == ()
    assert [spec.name for spec in report.signature.outputs] == ["x_out", "sum_1"]


def test_an_output_that_is_the_input_itself_has_its_own_name() -> None:
    report = run_export("nets.py:Same", sample=saved_rows(x=floats()))

    assert report.reasons == ()
    assert [spec.name for spec in report.signature.outputs] == ["output_0", "output_1"]
    assert answers(Path("out.onnx"), {"x": floats()})["output_1"].tolist() == floats().tolist()


def test_without_dynamic_axes_the_graph_has_the_samples_shape() -> None:
    report = run_export("nets.py:Mlp", sample=saved_rows(x=floats(rows=5)), dynamic="none")

    assert report.passed
    assert report.signature.inputs[0].dims == (5, 4)


def test_an_axis_that_the_module_fixes_is_said_to_be_fixed() -> None:
    with pytest.raises(InvalidInput, match="static shape of 4") as caught:
        run_export("nets.py:Mlp", sample=saved_rows(x=floats()), dynamic="1=features")

    assert "--dynamic" in str(caught.value.hint)


def test_a_branch_on_values_is_refused_with_advice(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InvalidInput, match="data-dependent") as caught:
        run_export("nets.py:Branching", sample=saved_rows(x=floats()))

    assert "torch.where" in str(caught.value.hint)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("source", "options", "error", "fact"),
    [
        pytest.param("nets.py:Mlp", {}, UsageError, "what its inputs look like", id="no sample"),
        pytest.param("nets.py:Wordy", {"sample": "x"}, Unsupported, "gives a str", id="output of text"),
        pytest.param("nets.py:Variadic", {"sample": "x"}, Unsupported, r"\*args", id="nameless arguments"),
        pytest.param("nets.py:Clash", {"sample": "x"}, InvalidInput, "forward takes x, z", id="argument missing"),
        pytest.param("nets.py:Mlp", {"sample": "tokens"}, InvalidInput, "forward takes x", id="another argument"),
        pytest.param("nets.py:Mlp", {"sample": "wide"}, InvalidInput, "module refuses these inputs", id="shape"),
        pytest.param("nets.py:Mlp", {"sample": "text"}, InvalidInput, "holds text", id="text"),
        pytest.param("nets.py:wrong_example", {}, InvalidInput, "not tensors", id="example of no tensors"),
        pytest.param("nets.py:encoder", {"dynamic": "ids:1=n"}, UsageError, "no input 'ids'", id="axis of nobody"),
        pytest.param("nets.py:encoder", {"dynamic": "tokens:5=n"}, UsageError, "has 2 axes", id="axis too far"),
    ],
)
def test_what_cannot_be_exported_is_refused_with_the_fact(
    source: str, options: dict[str, Any], error: type[Exception], fact: str
) -> None:
    arrays = {
        "x": {"x": floats()},
        "tokens": {"tokens": floats()},
        "wide": {"x": floats(features=9)},
        "text": {"x": np.array(["a", "b"])},
    }
    if "sample" in options:
        options = {"sample": saved_rows(**arrays[options["sample"]])}

    with pytest.raises(error, match=fact):
        run_export(source, **options)


class Pair(torch.nn.Module):
    """Takes nested arguments, as exported programs may."""

    def forward(self, x: torch.Tensor, options: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return x * options["scale"], x.sum(-1)


def save_program(path: Path = Path("model.pt2")) -> Path:
    batch = torch.export.Dim("batch")
    shapes = {"x": {0: batch}, "options": {"scale": {0: batch}}}
    inputs = (torch.randn(2, 4), {"scale": torch.randn(2, 4)})
    torch.export.save(torch.export.export(Pair(), inputs, dynamic_shapes=shapes), path)
    return path


@pytest.fixture
def program() -> Path:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return save_program()


def test_a_program_is_exported_with_its_own_dynamic_axes(program: Path) -> None:
    report = run_export(program)

    assert report.reasons == ()
    assert report.signature.batch_dim == "batch"
    assert [spec.name for spec in report.signature.outputs] == ["output_0", "output_1"]


def test_a_programs_axes_cannot_be_changed(program: Path) -> None:
    with pytest.raises(UsageError, match="fixed its dynamic axes"):
        run_export(program, dynamic="0=batch")


def test_a_damaged_program_is_invalid_input(program: Path) -> None:
    program.write_bytes(program.read_bytes()[:2000])

    with pytest.raises(InvalidInput, match=r"not a \.pt2 archive"):
        run_export(program)


def test_a_program_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound):
        run_export("nowhere.pt2")


class Payload:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran").absolute(),)


def replace_member(path: Path, ending: str, content: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, held in members.items():
            archive.writestr(name, content if name.endswith(ending) else held)


def test_code_hidden_in_a_programs_tensors_is_not_run(program: Path) -> None:
    torch.save((Payload(),), "payload.pt")
    replace_member(program, "sample_inputs/model.pt", Path("payload.pt").read_bytes())

    with pytest.raises((UsageError, InvalidInput)):
        run_export(program)

    assert not Path("ran").exists()


def test_a_program_with_pickled_objects_needs_permission(program: Path) -> None:
    with zipfile.ZipFile(program, "a") as archive:
        archive.writestr("model/data/constants/opaque_obj_0", pickle.dumps(Payload()))

    with pytest.raises(UsageError) as caught:
        run_export(program)

    assert "--allow-pickle" in str(caught.value.hint)
    assert not Path("ran").exists()


def test_the_switch_for_safe_loading_is_put_back(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0")

    run_export(program)

    assert os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "0"


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        pytest.param(torch.zeros(1), ["output"], id="one"),
        pytest.param((torch.zeros(1), torch.zeros(1)), ["output_0", "output_1"], id="tuple"),
        pytest.param({"logits": torch.zeros(1), "aux": [torch.zeros(1)]}, ["aux_0", "logits"], id="nested"),
        pytest.param((torch.zeros(1), None), ["output_0"], id="nothing left out"),
    ],
)
def test_outputs_are_named_by_their_place(outputs: Any, names: list[str]) -> None:
    assert sorted(output_names(outputs)) == sorted(names)


def test_a_module_that_gives_nothing_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="gives nothing"):
        output_names(None)


def test_axes_asked_for_every_input_go_where_they_fit() -> None:
    tensors = {"tokens": torch.zeros(2, 6), "scale": torch.zeros(2), "bias": torch.zeros(())}

    assert dynamic_axes(tensors, {None: {1: "sequence"}}) == {
        "tokens": {0: "batch", 1: "sequence"},
        "scale": {0: "batch"},
        "bias": {},
    }


def test_arguments_with_defaults_are_optional() -> None:
    class Optional(torch.nn.Module):
        def forward(self, x: Any, mask: Any = None) -> Any:
            return x

    assert argument_names(Optional()) == (["x"], ["x", "mask"])


def test_an_output_as_long_as_its_input_is_not_declared_as_long_as_the_sample() -> None:
    Path("own.py").write_text(
        "import torch\n"
        "class Recurrent(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.cell = torch.nn.GRU(3, 5, batch_first=True)\n"
        "    def forward(self, x):\n"
        "        return self.cell(x)[0]\n"
    )
    rows = np.random.default_rng(0).normal(size=(4, 6, 3)).astype(np.float32)

    report = run_export("own.py:Recurrent", sample=saved_rows(x=rows), dynamic="1=time")

    assert report.passed
    assert report.signature.outputs[0].shape == (-1, -1, 5)
