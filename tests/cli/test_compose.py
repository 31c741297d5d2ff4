"""compose, as a command: a joined file with its proof, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from mlserve.core.evidence import read_sidecar
from tests.cli.conftest import Run
from tests.graph.test_composing import step
from tests.models import saved


@pytest.fixture
def parts(clean_environment: Path) -> list[Path]:
    made = [step("Abs", "x", "y", ["n", 4]), step("Exp", "y", "z", ["n", 4])]
    return [saved(model, clean_environment / f"{number}.onnx") for number, model in enumerate(made)]


def test_the_joined_file_answers_as_the_parts_and_carries_its_proof(
    run: Run, parts: list[Path], clean_environment: Path
) -> None:
    np.savez(clean_environment / "rows.npz", x=np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32))

    done = run("compose", *parts, "-o", "whole.onnx", "--sample", "rows.npz", "--json")
    answers = run("predict", "whole.onnx", "rows.npz", "--json")

    assert done.code == 0
    assert done.document["output"] == "whole.onnx"
    assert [one["name"] for one in done.document["signature"]["inputs"]] == ["x"]
    assert done.document["parity"]["rows"] == 5
    assert done.document["seams"] == ["1.y → 2.y"]
    (evidence,) = read_sidecar(Path("whole.onnx"), done.document["digest"])
    assert (evidence.kind, evidence.passed, evidence.figures["framework"]) == ("parity", True, "composed")
    rows = np.load(clean_environment / "rows.npz")["x"]
    np.testing.assert_allclose(answers.document["z"], np.exp(np.abs(rows)), rtol=1e-6)


def test_the_same_parts_give_the_same_bytes(run: Run, parts: list[Path]) -> None:
    for name in ("a.onnx", "b.onnx"):
        assert run("compose", *parts, "-o", name).code == 0

    assert Path("a.onnx").read_bytes() == Path("b.onnx").read_bytes()


def test_a_mapping_is_taken_from_the_command_line(run: Run, clean_environment: Path) -> None:
    saved(step("Abs", "x", "y", ["n", 4]), clean_environment / "a.onnx")
    saved(step("Exp", "q", "z", ["n", 4]), clean_environment / "b.onnx")

    assert run("compose", "a.onnx", "b.onnx", "-o", "whole.onnx", "--map", "y=q").code == 0


def test_a_ref_can_be_a_part(run: Run, parts: list[Path]) -> None:
    run("init")
    run("register", "first", parts[0])

    done = run("compose", "first:1", parts[1], "-o", "whole.onnx", "--quiet")

    assert (done.code, done.out.strip()) == (0, "whole.onnx")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(["0.onnx"], 2, "nothing to join", id="one model"),
        pytest.param(["0.onnx", "nope.onnx"], 4, "nope.onnx", id="no file"),
        pytest.param(["0.onnx", "1.onnx", "--map", "y"], 2, "OUTPUT=INPUT", id="half a mapping"),
        pytest.param(["0.onnx", "1.onnx", "--map", "nix=y"], 2, "'nix'", id="unknown output"),
        pytest.param(["0.onnx", "broken.onnx"], 9, "broken.onnx", id="broken file"),
        pytest.param(["0.onnx", "other.onnx"], 9, "FP64", id="another type"),
    ],
)
def test_what_cannot_be_joined_writes_nothing(
    run: Run, parts: list[Path], clean_environment: Path, words: list[str], code: int, said: str
) -> None:
    (clean_environment / "broken.onnx").write_bytes(b"no model")
    saved(step("Neg", "y", "z", ["n", 4], kind=onnx.TensorProto.DOUBLE), clean_environment / "other.onnx")

    done = run("compose", *words, "-o", "whole.onnx", "--json")

    assert done.code == code
    assert said in json.loads(done.err)["error"]["message"] + str(json.loads(done.err)["error"]["hint"])
    assert not Path("whole.onnx").exists()
