"""Files written whole or not at all."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from mlserve.core.files import release, replacing, staging
from mlserve.errors import InvalidInput, UsageError


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


@pytest.mark.parametrize("name", ["m.onnx", "m.onnx.data", "m.onnx.evidence.json"])
def test_nothing_is_staged_to_take_the_place_of_a_folder(tmp_path: Path, name: str):
    (tmp_path / name).mkdir()

    with pytest.raises(InvalidInput, match=f"cannot write '.*/{name}': it is a folder"), staging(tmp_path / "m.onnx"):
        raise AssertionError


def test_a_release_over_a_folder_that_came_meanwhile_is_named(tmp_path: Path):
    with staging(tmp_path / "m.onnx") as staged:
        staged.write_text("graph")
        (tmp_path / "m.onnx").mkdir()

        with pytest.raises(InvalidInput, match="cannot write"):
            release(staged, tmp_path / "m.onnx")


@pytest.mark.parametrize("writing", [replacing, staging])
def test_a_device_is_not_replaced_by_a_file(tmp_path: Path, writing: Callable[[Path], AbstractContextManager[Path]]):
    os.mkfifo(tmp_path / "out")

    with pytest.raises(InvalidInput, match="it is not a file"), writing(tmp_path / "out"):
        raise AssertionError

    assert (tmp_path / "out").is_fifo()


@pytest.mark.parametrize("writing", [replacing, staging])
def test_a_name_that_is_too_long_is_named(tmp_path: Path, writing: Callable[[Path], AbstractContextManager[Path]]):
    with pytest.raises(InvalidInput, match="name too long"), writing(tmp_path / ("x" * 300)):
        raise AssertionError


@pytest.mark.parametrize("name", ["m.onnx", "m.onnx.data", "m.onnx.evidence.json"])
def test_what_is_read_is_not_overwritten(tmp_path: Path, name: str):
    (tmp_path / name).write_text("read")
    (tmp_path / "link").symlink_to(tmp_path / name)

    with pytest.raises(UsageError, match=f"{name}' is read"), staging(tmp_path / "m.onnx", inputs=[tmp_path / "link"]):
        raise AssertionError


def test_what_fails_while_staged_is_named_as_the_user_asked_for_it(tmp_path: Path):
    target = tmp_path / "m.onnx"

    with (
        staging(target) as staged,
        pytest.raises(InvalidInput, match=f"cannot write '{target}'"),
        replacing(staged) as partial,
    ):
        partial.symlink_to(tmp_path / "absent" / "file")


CRASHING = """
import os, sys
from pathlib import Path
from mlserve.core.files import release, staging

folder, last = Path(sys.argv[1]), int(sys.argv[2])
with staging(folder / "m.onnx") as staged:
    for suffix in sys.argv[3:]:
        staged.with_name("m.onnx" + suffix).write_text("new")
    steps = 0
    def crash(event, arguments):
        global steps
        if event in ("os.rename", "os.remove"):
            steps += 1
            if steps > last:
                os._exit(1)
    sys.addaudithook(crash)
    release(staged, folder / "m.onnx")
    os._exit(0)
"""


@pytest.mark.parametrize("old", [(".data", ".evidence.json"), (".evidence.json",)], ids=["pair", "one file"])
@pytest.mark.parametrize("new", [(".data", ".evidence.json"), (".evidence.json",)], ids=["to pair", "to one file"])
def test_a_crash_at_any_step_of_a_release_mixes_no_two_models(
    tmp_path: Path, old: tuple[str, ...], new: tuple[str, ...]
):
    finished = False
    for step in range(10):
        folder = tmp_path / str(step)
        folder.mkdir()
        for suffix in ("", *old):
            (folder / f"m.onnx{suffix}").write_text("old")

        done = subprocess.run([sys.executable, "-c", CRASHING, str(folder), str(step), "", *new], check=False)

        found = {path.name.removeprefix("m.onnx"): path.read_text() for path in folder.glob("m.onnx*")}
        graph = found.pop("", None)
        wanted = {"old": old, "new": new}.get(graph or "", ())
        if graph is not None:
            assert ".data" not in wanted or found[".data"] == graph
            assert found.get(".evidence.json", graph) == graph
        if finished := done.returncode == 0:
            assert (graph, found) == ("new", dict.fromkeys(new, "new"))
            break
    assert finished
