"""What an interrupted replay leaves on disk says which replay it was, and lets no other go on with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlserve.compare.ladder.packing import pack
from mlserve.errors import Conflict, InvalidInput, NotFound
from mlserve.replay.checkpoint import EVERY_S, Pauses, path_in, read_checkpoint, write_checkpoint
from mlserve.rows.captured_reading import Listed
from tests.replay.making import Counting, found

IDENTITY = {"capture": "/data/m", "--against": [["m:2", "sha256:2"]], "--atol": None}
LISTED = [Listed("a.mlcapture", 512)]


@dataclass
class Seconds:
    """A clock that is set by hand."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_what_was_found_comes_back_as_it_was(tmp_path: Path) -> None:
    state = found(2)
    state.place, state.taken, state.seconds = (3, 17), 40, 1.5
    state.coverage.left_out["status 500"] = 2

    write_checkpoint(tmp_path / "c", IDENTITY, LISTED, state)
    kept = read_checkpoint(tmp_path / "c", IDENTITY)

    assert kept.listed == LISTED
    assert pack(kept.restored(Counting.from_state).state()) == pack(state.state())


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        pytest.param("--atol", 0.5, "had --atol None, and this one has 0.5", id="an option"),
        pytest.param("--against", [["m:3", "sha256:3"]], "had --against [['m:2'", id="a candidate"),
        pytest.param("--limit", 7, "had --limit None, and this one has 7", id="what it did not know"),
    ],
)
def test_another_replay_is_told_what_differs(tmp_path: Path, name: str, value: Any, said: str) -> None:
    write_checkpoint(tmp_path / "c", IDENTITY, LISTED, found())

    with pytest.raises(Conflict) as raised:
        read_checkpoint(tmp_path / "c", IDENTITY | {name: value})

    assert said in raised.value.message
    assert "without --resume" in str(raised.value.hint)


def test_where_none_is_there_it_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no replay of this kind was interrupted here"):
        read_checkpoint(tmp_path / "c", IDENTITY)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "is no checkpoint", id="empty"),
        pytest.param(b"\x93\x01", "is no checkpoint", id="cut off"),
        pytest.param(pack({"schema": 1}), "is no checkpoint", id="something else"),
        pytest.param(
            pack({"schema": 99, "identity": {}, "listed": [], "found": {}}), "another mlserve", id="a later schema"
        ),
    ],
)
def test_what_is_no_checkpoint_is_not_gone_on_with(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "c").write_bytes(content)

    with pytest.raises(InvalidInput, match=said):
        read_checkpoint(tmp_path / "c", IDENTITY)


def test_each_kind_of_replay_has_a_place_of_its_own(tmp_path: Path) -> None:
    other_order = dict(reversed(IDENTITY.items()))

    assert path_in(tmp_path, other_order) == path_in(tmp_path, IDENTITY)
    assert path_in(tmp_path, IDENTITY | {"--atol": 0.5}) != path_in(tmp_path, IDENTITY)


def test_it_is_written_every_few_seconds_and_gone_at_the_end(tmp_path: Path) -> None:
    clock = Seconds()
    pauses = Pauses(tmp_path / "c", IDENTITY, LISTED, clock)
    state = found()

    clock.now_s = EVERY_S - 0.1
    pauses(state)
    assert not pauses.path.exists()

    clock.now_s = EVERY_S
    state.coverage.requests = 5
    pauses(state)
    assert pauses.requests == 5

    state.coverage.requests = 9
    clock.now_s = 2 * EVERY_S - 0.1
    pauses(state)
    assert read_checkpoint(pauses.path, IDENTITY).restored(Counting.from_state).coverage.requests == 5

    pauses.done()
    pauses.done()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_told_and_what_was_there_stays(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", IDENTITY, LISTED, found())
    whole = (tmp_path / "c").read_bytes()

    with pytest.raises(InvalidInput):
        write_checkpoint(tmp_path / "gone" / "c", IDENTITY, LISTED, found())

    assert (tmp_path / "c").read_bytes() == whole
