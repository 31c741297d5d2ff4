"""Files written whole or not at all."""

from pathlib import Path

import pytest

from mlserve.core.files import release, replacing, staging
from mlserve.errors import InvalidInput


def test_the_new_content_replaces_the_old(tmp_path: Path):
    target = tmp_path / "out"
    target.write_text("old")

    with replacing(target) as partial:
        partial.write_text("new")

    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def write_half(target: Path) -> None:
    with replacing(target) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt


def test_a_failure_half_way_leaves_the_old_content_and_nothing_else(tmp_path: Path):
    target = tmp_path / "out"
    target.write_text("old")

    with pytest.raises(KeyboardInterrupt):
        write_half(target)

    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_missing_folder_is_named(tmp_path: Path):
    with (
        pytest.raises(InvalidInput, match=r"cannot write '.*/absent/out'"),
        replacing(tmp_path / "absent/out") as partial,
    ):
        partial.write_text("x")


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path):
    (tmp_path / "out").mkdir()

    with pytest.raises(InvalidInput, match="cannot write"), replacing(tmp_path / "out") as partial:
        partial.write_text("x")

    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_staged_files_appear_together_and_older_companions_go(tmp_path: Path):
    target = tmp_path / "m.onnx"
    for name in ("m.onnx", "m.onnx.data", "m.onnx.evidence.json"):
        (tmp_path / name).write_text("old")

    with staging(target) as staged:
        staged.write_text("graph")
        staged.with_name("weights.bin").write_text("weights")
        release(staged, target)

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"m.onnx": "graph", "weights.bin": "weights"}


def test_what_is_staged_and_not_released_is_gone(tmp_path: Path):
    with staging(tmp_path / "m.onnx") as staged:
        staged.write_text("graph")

    assert list(tmp_path.iterdir()) == []


def test_nothing_can_be_staged_in_a_missing_folder(tmp_path: Path):
    with pytest.raises(InvalidInput, match="cannot write"), staging(tmp_path / "absent" / "m.onnx"):
        raise AssertionError


def test_a_release_over_a_folder_is_named(tmp_path: Path):
    (tmp_path / "m.onnx").mkdir()

    with staging(tmp_path / "m.onnx") as staged:
        staged.write_text("graph")

        with pytest.raises(InvalidInput, match="cannot write"):
            release(staged, tmp_path / "m.onnx")
