"""lineage, and what show tells of a version that was made from another."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from mlserve.core.evidence import Evidence, write_sidecar
from mlserve.wiring.connecting import now
from tests.cli.conftest import Run
from tests.models import labelled_classifier, saved

METRIC = {"name": "f1", "before": 0.9, "after": 0.89, "drop": 0.01, "interval": [0.0, 0.02], "max_drop": 0.02}


def digest_of(file: Path) -> str:
    return "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def family(run: Run, project: Path, model: Path, better: Path) -> Path:
    """fraud:1 ─► fraud:2, quantized ─► fraud:3; fraud:1 ─► other:1."""
    made: dict[str, Any] = {"method": "int8-dynamic", "parent": digest_of(model), "size_ratio": 3.9, "speedup": 1.61}
    moment = now()
    items = [("quantization", made), ("accuracy", METRIC)]
    write_sidecar(better, [Evidence(kind, digest_of(better), True, said, moment, "ann") for kind, said in items])
    third = saved(labelled_classifier(seed=3), project / "third.onnx")
    fourth = saved(labelled_classifier(seed=4), project / "fourth.onnx")
    for words in (
        ("fraud", model),
        ("fraud", better, "--parent", "fraud:1"),
        ("fraud", third, "--parent", "fraud:2"),
        ("other", fourth, "--parent", "fraud:1"),
    ):
        assert run("register", *words).code == 0
    return project


def test_a_person_sees_a_tree_with_how_each_was_made(run: Run, family: Path) -> None:
    root, middle, third, other = run("lineage", "fraud:1").out.splitlines()

    assert root.startswith("fraud:1 ◄  ")
    assert middle.startswith("├─ fraud:2  int8-dynamic: 3.90× smaller, 1.61× as fast; f1 0.9 → 0.89: drop 0.01")
    assert third.startswith("│  └─ fraud:3  ")
    assert other.startswith("└─ other:1  ")


def test_ancestors_stand_above_what_was_asked_for(run: Run, family: Path) -> None:
    lines = run("lineage", "fraud:3").out.splitlines()

    assert [line.split("  20")[0].split(":")[0].strip() for line in lines] == ["fraud", "└─ fraud", "└─ fraud"]
    assert lines[2].startswith("   └─ fraud:3 ◄")


def test_scripts_get_members_and_pipes_get_refs(run: Run, family: Path) -> None:
    document = run("lineage", "fraud:2", "--json").document
    quiet = run("lineage", "fraud:2", "--quiet").out

    assert (document["ref"], document["parent"]) == ("fraud:2", "fraud:1")
    assert document["made"]["quantization"]["size_ratio"] == 3.9
    assert [one["ref"] for one in document["ancestors"]] == ["fraud:1"]
    assert [one["ref"] for one in document["descendants"]] == ["fraud:3"]
    assert quiet == "fraud:1\nfraud:2\nfraud:3\n"


def test_show_tells_what_quantization_did(run: Run, family: Path) -> None:
    done = run("show", "fraud:2")

    assert "made         int8-dynamic: 3.90× smaller, 1.61× as fast; f1 0.9 → 0.89" in done.out
    assert "f1 0.9 → 0.89: drop 0.01 (95 % interval 0 to 0.02, 0.02 allowed)" in done.out


def test_what_a_file_says_of_its_making_is_kept_and_shown(run: Run, project: Path, model: Path, rows: Path) -> None:
    words = ("--to", "int8-dynamic", "--evaluate", rows, "--force")
    assert run("quantize", model, "-o", "small.onnx", *words).code in (0, 7)
    Path("small.onnx.evidence.json").unlink()  # what was measured may be lost; how it was made is in the file
    run("register", "fraud", model)
    run("register", "fraud", "small.onnx", "--parent", "fraud:1")

    document = run("lineage", "fraud:2", "--json").document

    quantize = document["made"]["provenance"]["quantize"]
    assert (quantize["method"], quantize["parent"]) == ("int8-dynamic", digest_of(model))
    assert quantize["tools"]["mlserve"]
    assert "quantized by int8-dynamic" in run("show", "fraud:2").out
    assert "fraud:2 ◄  quantized by int8-dynamic" in run("lineage", "fraud:2").out


def test_a_version_that_is_not_there_is_exit_4(run: Run, family: Path) -> None:
    assert run("lineage", "fraud:9", "--json").error["code"] == 4
