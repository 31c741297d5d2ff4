"""quantize: the gate's no is exit 7 and writes nothing; its yes can be registered with its parent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlserve.cli.quantize import _figures
from mlserve.compare.quality import METRICS
from mlserve.quantize.gate import Metric
from mlserve.quantize.reporting import QuantizeReport
from tests.cli.conftest import Run
from tests.models import classifier, saved


@pytest.fixture
def large(clean_environment: Path) -> Path:
    """A classifier that is large enough for its weights to matter."""
    return saved(classifier(features=32, hidden=256, classes=8), clean_environment / "large.onnx")


@pytest.fixture
def evaluation(clean_environment: Path) -> Path:
    path = clean_environment / "evaluation.npz"
    np.savez(path, x=np.random.default_rng(3).normal(size=(200, 32)).astype(np.float32))
    return path


def test_a_quantized_version_is_registered_with_its_parent_and_evidence(
    run: Run, project: Path, large: Path, evaluation: Path
) -> None:
    run("register", "fraud", large)

    done = run(
        "quantize",
        "fraud:1",
        "-o",
        "small.onnx",
        "--to",
        "int8-dynamic",
        "--evaluate",
        evaluation,
        "--max-drop",
        "0.5",
        "--json",
    )
    version = run("register", "fraud", "small.onnx", "--parent", "fraud:1", "--json").document

    report = done.document
    assert {"output", "method", "size_ratio", "speedup", "metric", "passed"} <= set(report)
    assert {"name", "before", "after", "drop", "interval"} <= set(report["metric"])
    assert (done.code, report["passed"], report["output"]) == (0, True, "small.onnx")
    assert report["size_ratio"] > 2
    assert version["parent"] == "fraud:1"
    kinds = {item["kind"]: item["origin"] for item in run("show", "fraud:2", "--json").document["evidence"]}
    assert kinds["accuracy"] == "imported"


def test_a_model_that_loses_too_much_is_refused(run: Run, large: Path, evaluation: Path) -> None:
    words = ("quantize", large, "-o", "small.onnx", "--to", "int8-dynamic", "--evaluate", evaluation)
    demand = ("--min-speedup", "1000")

    script, person = run(*words, *demand, "--json"), run(*words, *demand)

    assert script.code == person.code == 7
    assert script.document["passed"] is False
    assert script.document["output"] is None
    assert person.out.startswith("✗ small.onnx is not written (")
    assert not Path("small.onnx").exists()


def test_force_writes_against_the_gate_and_says_so(run: Run, large: Path, evaluation: Path) -> None:
    words = ("quantize", large, "-o", "small.onnx", "--to", "fp16", "--evaluate", evaluation, "--min-speedup", "1000")

    done = run(*words, "--force")

    assert done.code == 0
    assert done.out.startswith(f"✓ {large} as fp16: small.onnx, although")
    assert Path("small.onnx").exists()


def test_the_gate_is_a_setting(run: Run, project: Path, large: Path, evaluation: Path) -> None:
    (project / "mlserve.toml").write_text("[quantize]\nmin_speedup = 1000.0\n")

    assert run("quantize", large, "-o", "s.onnx", "--to", "fp16", "--evaluate", evaluation).code == 7


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(("large.onnx", "--to", "int8-dynamik"), 2, id="no method"),
        pytest.param(("large.onnx", "--to", "int8"), 2, id="no method yet"),
        pytest.param(("large.onnx", "--to", "fp16", "--metric", "acuracy"), 2, id="no metric"),
        pytest.param(("missing.onnx", "--to", "fp16"), 4, id="no file"),
        pytest.param(("fraud:1", "--to", "fp16"), 4, id="no registry"),
        pytest.param(("large.onnx", "--to", "fp16", "--target", "tpu"), 2, id="no target"),
        pytest.param(("large.onnx",), 2, id="no method given"),
    ],
)
def test_what_cannot_be_quantized_is_told(run: Run, large: Path, words: tuple[str, ...], code: int) -> None:
    assert run("quantize", *words, "-o", "s.onnx", "--json").error["code"] == code


def test_quiet_prints_the_file(run: Run, large: Path) -> None:
    done = run("quantize", large, "-o", "small.onnx", "--to", "int8-dynamic", "--quiet")

    assert (done.code, done.out) == (0, "small.onnx\n")


def test_the_figures_say_which_way_they_went() -> None:
    metric = Metric("accuracy", 0.97, 0.975, -0.005, (-0.011, 0.0), rows=200)
    larger = QuantizeReport(Path("m.onnx"), "fp16", 0.5, 0.83, metric, passed=False)

    figures = _figures(larger)

    assert figures == ("2.00× larger, 0.83× as fast, accuracy 0.97 → 0.975: drop -0.005, 95 % interval -0.011 to 0")
    assert _figures(QuantizeReport(None, "fp16", 3.4, 1.2, None, passed=True)) == "3.40× smaller, 1.20× as fast"


def test_what_was_never_made_has_no_figures(run: Run, clean_environment: Path) -> None:
    tiny = saved(classifier(), clean_environment / "tiny.onnx")
    run("quantize", tiny, "-o", "half.onnx", "--to", "fp16", "--force")

    again = run("quantize", "half.onnx", "-o", "again.onnx", "--to", "fp16")

    assert again.code == 7
    assert again.out.splitlines()[0] == "✗ again.onnx is not written"


def test_the_help_lists_every_metric(run: Run) -> None:
    words = " ".join(run("quantize", "--help").out.split())

    assert [name for name in METRICS if name not in words] == []
