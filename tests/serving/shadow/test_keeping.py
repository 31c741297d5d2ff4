"""A shadow's process is started again when it ends, given up where that is of no use, and asked for its last words."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from mlserve.core.settings import ServeSettings
from mlserve.errors import InvalidInput, MlserveError, Unavailable
from mlserve.runtime.generation.messages import pack
from mlserve.serving.generation.process import ChildProcess
from mlserve.serving.shadow.keeping import COMMAND, Document, Keeper
from mlserve.serving.shadow.messages import Opening
from mlserve.serving.shadow.ring import make_ring
from mlserve.serving.supervising.backoff import Backoff

CHILD = """
import os, sys
from mlserve.runtime.generation.messages import pack, read
out = os.fdopen(os.dup(1), "wb", buffering=0)
lives = {lives}
while (asked := read(sys.stdin.buffer)) is not None:
    what = asked["ask"]
    if what == "open":
        out.write(pack({opened}))
    elif what == "tell":
        out.write(pack({{"event": "told", "told": {{"mirrored": 5, "compared": 5}}}}))
        if not lives:
            os.kill(os.getpid(), 9)
    else:
        said = {{"compared": 5, "failed": 0, "asked": what}}
        out.write(pack({{"event": "document", "told": {{"compared": 6}}, "document": said}}))
"""
OPENED = '{"event": "opened"}'
REFUSED = '{"event": "error", "type": "InvalidInput", "message": "no model of mine", "hint": None}'


class Kept:
    """A keeper of processes that do as ``programs`` say, one after the other, the last again and again."""

    def __init__(self, folder: Path, *programs: str, prepare: Callable[[], None] = lambda: None) -> None:
        self.states: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self.documents: queue.SimpleQueue[tuple[Document, bool]] = queue.SimpleQueue()
        self.started = 0
        self._programs = programs
        self._folder = folder

        def prepared() -> Opening:
            prepare()
            return opening(folder)

        self.keeper = Keeper(
            "m:2",
            make_ring(1 << 16),
            prepared,
            open_limit_s=30.0,
            evidence_s=3600.0,
            on_change=lambda keeper: self.states.put((keeper.state, keeper.reason)),
            on_document=lambda document, is_last: self.documents.put((document, is_last)),
            start=self._start,
            backoff=Backoff(_next_s=0.01),
        )

    def _start(self, descriptors: Sequence[int]) -> ChildProcess:
        program = self._programs[min(self.started, len(self._programs) - 1)]
        self.started += 1
        return ChildProcess([sys.executable, "-c", program], descriptors=descriptors)

    def next_state(self) -> tuple[str, str]:
        return self.states.get(timeout=30.0)

    def end(self) -> None:
        self.keeper.end()
        self.keeper.ended.result(30.0)


def opening(folder: Path) -> Opening:
    return Opening(
        name="m", version=2, digest="sha256:2", generation=1, since="2026-01-01T00:00:00Z", traffic=1.0, champion=1,
        champion_digest="sha256:1", path=str(folder / "m.onnx"), certificate=None, ring=0, folder=str(folder),
        state=str(folder / "p.1.shadow"), siblings=str(folder / "p.*.shadow"), is_folder_ours=False,
        serve={"workers": ServeSettings().workers},
    )  # fmt: skip


def program(*, lives: bool = True, opened: str = OPENED) -> str:
    return textwrap.dedent(CHILD).format(lives=lives, opened=opened)


def test_a_process_that_lives_is_asked_and_has_the_last_word(tmp_path: Path) -> None:
    one = Kept(tmp_path, program())
    assert one.next_state() == ("comparing", "")

    assert one.keeper.document().result(30.0)["asked"] == "document"
    one.end()

    assert one.documents.get(timeout=1.0) == ({"compared": 5, "failed": 0, "asked": "end"}, True)
    assert one.next_state() == ("ended", "")
    assert one.started == 1


def test_a_process_that_is_killed_is_started_again_and_its_counts_stay(tmp_path: Path) -> None:
    one = Kept(tmp_path, program(lives=False), program())

    states = [one.next_state()[0] for _ in range(3)]

    assert states == ["comparing", "restarting", "comparing"]
    assert one.keeper.told.compared == 5
    one.end()
    assert one.started == 2


def test_a_version_that_cannot_be_used_is_not_tried_again_and_says_why(tmp_path: Path) -> None:
    one = Kept(tmp_path, program(opened=REFUSED))

    assert one.next_state() == ("failed", "no model of mine")
    assert not one.keeper.is_proven
    document = one.keeper.document().result(30.0)

    assert (document["ref"], document["compared"]) == ("m:2", 0)
    one.end()
    assert one.started == 1
    assert one.documents.empty()


@pytest.mark.parametrize(
    ("error", "state"),
    [
        pytest.param(Unavailable("the store is away"), "restarting", id="store away"),
        pytest.param(InvalidInput("no such kind of model"), "failed", id="unusable"),
    ],
)
def test_what_cannot_be_fetched_is_tried_again_if_that_may_help(
    tmp_path: Path, error: MlserveError, state: str
) -> None:
    def prepare() -> None:
        raise error

    one = Kept(tmp_path, program(), prepare=prepare)

    assert one.next_state() == (state, error.message)
    with pytest.raises(Unavailable):
        one.keeper.document().result(30.0)
    one.end()
    assert one.started == 0


def test_the_end_does_not_wait_for_a_version_that_never_opens(tmp_path: Path) -> None:
    is_there = threading.Event()
    one = Kept(tmp_path, "import sys; sys.stdin.buffer.read()", prepare=is_there.set)
    is_there.wait(30.0)
    while one.keeper.pid is None:
        pass

    one.end()

    assert one.next_state()[0] == "ended"


def test_a_server_that_is_killed_before_the_version_is_open_leaves_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "ours"
    folder.mkdir()
    said = msgspec.structs.replace(opening(folder), is_folder_ours=True)
    question = pack({"ask": "open", "opening": msgspec.to_builtins(said)})

    subprocess.run(COMMAND, input=question, check=True, timeout=60, stdout=subprocess.DEVNULL)

    assert not folder.exists()


def test_nothing_is_left_open(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    one = Kept(tmp_path, program())
    assert one.next_state()[0] == "comparing"

    one.end()

    assert set(os.listdir("/proc/self/fd")) <= before
