"""A replay that is killed goes on where its last checkpoint was, and comes to the same figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlserve.compare.ladder.comparison import Comparison
from mlserve.compare.ladder.packing import pack
from mlserve.errors import Conflict, InvalidInput, NotFound
from mlserve.replay.checkpoint import Pauses, path_in, read_checkpoint, write_checkpoint
from mlserve.replay.findings import Findings
from mlserve.replay.found import Found
from mlserve.replay.replaying import Plan, replay_fast
from mlserve.rows.captured_reading import Captured, Listed
from tests import models
from tests.replay.making import answered_by, found, loaded, version

IDENTITY: dict[str, Any] = {"capture": "c", "--against": [["m:2", "sha256:2"]]}
KILLED_AT = 3


def compared() -> Found:
    return Found([Findings(Comparison())])


def replayed(capture: Path, other: Path, state: Found, pauses: Pauses | None = None) -> None:
    """``capture`` through the model in ``other``; the process kills itself at the third of the pauses."""
    import onnx

    with loaded(onnx.load(other)) as model:
        replay_fast(Captured(capture), [version(model)], Plan(), state, pause=pauses)


class Deadly(Pauses):
    """Keeps every pause, and at one of them ends as ``kill -9`` would end it."""

    kept = 0

    def __call__(self, found: Found) -> None:
        import os
        import signal

        self.write(found)
        self.kept += 1
        if self.kept == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_replay_goes_on_and_finds_the_same(tmp_path: Path) -> None:
    capture, other, path = tmp_path / "capture", models.saved(models.classifier(seed=1), tmp_path / "o.onnx"), tmp_path
    with loaded(models.classifier()) as model:
        for part in range(8):
            answered_by(model, capture / f"part{part}", [[1, 3, 2]] * 40, seed=part)
    checkpoint = path_in(path, IDENTITY)
    code = (
        "import sys, time; from pathlib import Path\n"
        "from tests.replay.test_checkpoint import *\n"
        f"capture = Path({str(capture)!r})\n"
        f"pauses = Deadly(Path({str(checkpoint)!r}), IDENTITY, Captured(capture).listed, time.monotonic)\n"
        f"replayed(capture, Path({str(other)!r}), compared(), pauses)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -9

    kept = read_checkpoint(checkpoint, IDENTITY)
    resumed = kept.restored(Comparison.from_state)
    before = resumed.coverage.requests
    replayed(capture, other, resumed)
    whole = compared()
    replayed(capture, other, whole)

    assert 0 < before < whole.coverage.requests == 8 * 120
    assert resumed.candidates[0].rows == whole.candidates[0].rows == 8 * 240
    assert resumed.candidates[0].comparison.figures() == whole.candidates[0].comparison.figures()


def test_a_checkpoint_of_another_replay_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    write_checkpoint(path, IDENTITY, [Listed("a", 1)], found())

    with pytest.raises(Conflict, match=r"--against .*m:2.*, and this one has .*m:3"):
        read_checkpoint(path, IDENTITY | {"--against": [["m:3", "sha256:3"]]})


def test_an_option_that_was_not_given_then_is_told(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "kept", IDENTITY, [], found())

    with pytest.raises(Conflict, match=r"had --atol None, and this one has 0\.5"):
        read_checkpoint(tmp_path / "kept", IDENTITY | {"--atol": 0.5})


def test_what_was_kept_stays_where_a_later_one_cannot_be_written(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "kept", IDENTITY, [], found())
    whole = (tmp_path / "kept").read_bytes()

    with pytest.raises(InvalidInput):
        write_checkpoint(tmp_path / "gone" / "kept", IDENTITY, [], found())

    assert (tmp_path / "kept").read_bytes() == whole


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x93not a checkpoint", id="other bytes"),
        pytest.param(pack({"schema": 1, "identity": IDENTITY}), id="without what was found"),
        pytest.param(pack({"schema": 99, "identity": IDENTITY, "listed": [], "found": {}}), id="of another release"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "kept"
    path.write_bytes(content)

    with pytest.raises(InvalidInput):
        read_checkpoint(path, IDENTITY)


def test_there_is_nothing_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no replay of this kind was interrupted"):
        read_checkpoint(tmp_path / "none", IDENTITY)


def test_a_checkpoint_is_written_each_few_seconds_and_gone_when_done(tmp_path: Path) -> None:
    now_s = 0.0
    pauses = Pauses(tmp_path / "kept", IDENTITY, [], lambda: now_s, every_s=5.0)

    pauses(found())
    assert not pauses.path.exists()
    now_s = 5.0
    pauses(found())
    assert pauses.path.exists()
    pauses.done()

    assert not pauses.path.exists()
