"""What the engine answers is recorded as it was asked and answered, whichever way it went through a run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlserve.errors import InvalidInput, MlserveError
from mlserve.serving.recording import Recorder
from mlserve.serving.seam import InferRequest
from mlserve.traffic.surveying import requests_of
from mlserve.traffic.writing import CapturePlan, CaptureWriter
from tests import models
from tests.serving.engines import INLINE, World, arrays, loader, rows, tensor, wanted

Found = list[dict[str, Any]]


class Recorded:
    """An engine whose answers are recorded in ``folder``; ``ask`` names requests as a front end would."""

    def __init__(self, folder: Path, proto: Any = None, *, max_bytes: int = 64 << 20, **options: Any) -> None:
        loop = asyncio.get_running_loop()
        self.folder = folder
        self.recorder = Recorder(loop, CaptureWriter(CapturePlan(folder), "s"), max_bytes=max_bytes)
        self.world = World(
            ["m"],
            loader({("m", 1): proto or models.classifier()}, INLINE),
            on_answered=self.recorder.note,
            on_shared=self.recorder.note_shared,
            **options,
        )

    async def ready(self) -> Recorded:
        await self.world.repository.apply([wanted("m")])
        return self

    def ask(self, id: str, outputs: tuple[str, ...] | None = None, **inputs: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        tensors = [tensor(name, value) for name, value in inputs.items()]
        request = InferRequest("m", None, tensors, outputs, unit_key="ann" if id == "keyed" else None, id=id.encode())
        self.world.engine.infer(request, future.set_result)
        return future

    def found(self) -> dict[str, dict[str, Any]]:
        self.world.close()
        self.recorder.close(10.0)
        return {one["request_id"]: one for one in requests_of(self.folder)}


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(work(), 60)

    return asyncio.run(bounded())


def same(captured: Any, array: np.ndarray[Any, Any]) -> bool:
    return np.array(captured, array.dtype).tobytes() == np.ascontiguousarray(array).tobytes()


def test_each_request_of_a_run_has_its_own_rows(tmp_path: Path) -> None:
    async def work() -> None:
        one = await Recorded(tmp_path).ready()
        given = {f"r{n}": rows(n, seed=n) for n in (1, 2, 3)}
        answers = dict(
            zip(given, await asyncio.gather(*(one.ask(name, x=x) for name, x in given.items())), strict=True)
        )

        found = one.found()

        assert found.keys() == given.keys()
        for number, (name, x) in enumerate(given.items()):
            assert same(found[name]["inputs"]["x"], x)
            for output, array in arrays(answers[name]).items():
                assert same(found[name]["outputs"][output], array)
            assert found[name]["slot"] == sum(range(number + 1))
            assert found[name]["batch_rows"] == 6
            assert found[name]["stage"] == "production"
            assert found[name]["compute_ns"] > 0
        assert len({one["batch_id"] for one in found.values()}) == 1

    run(work)


def test_what_fails_is_there_with_its_status_and_takes_no_other_along(tmp_path: Path) -> None:
    async def work() -> None:
        one = await Recorded(tmp_path, models.sequence_lengths()).ready()
        good = one.ask("good", ids=np.array([[1, 2]]))
        bad = one.ask("bad", ids=np.array([[1, 99]]))  # no such word in the table
        assert not isinstance(await good, Exception)
        assert isinstance(await bad, MlserveError)

        found = one.found()

        assert (found["good"]["status"], found["bad"]["status"]) == (200, 400)
        assert found["bad"]["inputs"] == {"ids": [[1, 99]]}
        assert set(found["bad"]["outputs"].values()) == {None}

    run(work)


def test_a_request_in_pieces_is_there_in_pieces(tmp_path: Path) -> None:
    async def work() -> None:
        one = await Recorded(tmp_path).ready()
        loaded = one.world.repository.find("m", None)
        loaded.max_rows = 4
        x = rows(10)
        answer = await one.ask("large", x=x)

        one.world.close()
        one.recorder.close(10.0)
        pieces = sorted(requests_of(tmp_path), key=lambda piece: piece["first_row"])

        assert {piece["request_id"] for piece in pieces} == {"large"}
        assert len(pieces) == 3
        ends = [piece["first_row"] + piece["rows"] for piece in pieces]
        assert [piece["first_row"] for piece in pieces] == [0, *ends[:-1]]
        assert ends[-1] == 10
        assert same([row for piece in pieces for row in piece["inputs"]["x"]], x)
        (output, whole) = next(iter(arrays(answer).items()))
        assert same([row for piece in pieces for row in piece["outputs"][output]], whole)

    run(work)


def test_only_outputs_that_were_asked_for_are_there_unless_all_are_wanted(tmp_path: Path) -> None:
    async def work() -> None:
        one = await Recorded(tmp_path, models.labelled_classifier()).ready()
        await one.ask("some", ("label",), x=rows(1))
        one.world.repository.find("m", None).computes_all = True
        answer = await one.ask("all", ("label",), x=rows(1))
        assert arrays(answer).keys() == {"label"}

        found = one.found()

        assert [name for name, value in found["some"]["outputs"].items() if value is not None] == ["label"]
        assert None not in found["all"]["outputs"].values()

    run(work)


@pytest.mark.parametrize("options", [{"cache_bytes": 1 << 20}, {"is_single_flight": True}], ids=["kept", "joined"])
def test_what_is_answered_without_a_run_of_its_own_is_there_too(tmp_path: Path, options: dict[str, Any]) -> None:
    async def work() -> None:
        one = await Recorded(tmp_path, **options).ready()
        x = rows(2)
        first = one.ask("first", x=x)
        if "cache_bytes" in options:
            await first
        answers = [await first, await one.ask("second", x=x)]
        if "is_single_flight" in options:
            answers = await asyncio.gather(one.ask("a", x=x), one.ask("second", x=x))

        found = one.found()

        (output, array) = next(iter(arrays(answers[-1]).items()))
        assert same(found["second"]["inputs"]["x"], x)
        assert same(found["second"]["outputs"][output], array)

    run(work)


def test_unit_keys_are_there_as_hashes(tmp_path: Path) -> None:
    async def work() -> None:
        one = await Recorded(tmp_path).ready()
        await asyncio.gather(one.ask("keyed", x=rows(1)), one.ask("other", x=rows(1)))

        found = one.found()

        assert found["other"]["unit_key_hash"] is None
        assert len(found["keyed"]["unit_key_hash"]) == 32
        assert "ann" not in found["keyed"]["unit_key_hash"]

    run(work)


def test_what_there_is_no_room_for_is_dropped_and_counted(tmp_path: Path) -> None:
    async def work() -> None:
        one = await Recorded(tmp_path, max_bytes=2000).ready()
        await asyncio.gather(*(one.ask(f"r{n}", x=rows(1)) for n in range(3)))
        await asyncio.gather(*(one.ask(f"s{n}", x=rows(1)) for n in range(50)))

        found = one.found()

        assert found.keys() == {"r0", "r1", "r2"}
        assert one.recorder.dropped == 50

    run(work)


def test_room_comes_back_when_it_was_written(tmp_path: Path) -> None:
    async def work() -> None:
        one = await Recorded(tmp_path, max_bytes=2000).ready()
        for number in range(3):
            await asyncio.gather(*(one.ask(f"r{number}-{n}", x=rows(1)) for n in range(3)))
            await asyncio.sleep(0.6)

        assert len(one.found()) == 9

    run(work)


def test_values_that_are_none_are_recorded_as_missing(tmp_path: Path) -> None:
    async def work() -> None:
        one = await Recorded(tmp_path).ready()
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        request = InferRequest("m", None, [tensor("x", rows(1), as_lists=True)], id=b"bad")
        request.inputs[0].values = ["no number"] * 4
        one.world.engine.infer(request, future.set_result)
        assert isinstance(await future, InvalidInput)

        assert one.found()["bad"]["inputs"] == {"x": None}

    run(work)


def test_what_was_answered_is_never_of_stage_shadow_whose_rows_nobody_takes_for_traffic(tmp_path: Path) -> None:
    async def work() -> None:
        one = await Recorded(tmp_path).ready()
        # Another version has taken its place since the request came.
        one.world.repository.find("m", 1).stages = ("shadow", "staging")

        await one.ask("a", x=rows(1))

        assert one.found()["a"]["stage"] == "staging"

    run(work)
