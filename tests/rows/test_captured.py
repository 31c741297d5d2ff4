"""Captured requests come back whole, as arrays, in bounded memory, and what cannot be replayed is counted."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from mlserve.errors import Conflict, InvalidInput
from mlserve.rows.capture_file import files_of
from mlserve.rows.captured import CapturedBatch, Window
from mlserve.rows.captured_reading import GATHER_REQUESTS, Captured
from mlserve.traffic.compacting import compact
from mlserve.traffic.redaction import Redaction
from tests.traffic.making import EPOCH_S, Clock, captured, recorded, writer


def ids(batches: Iterable[CapturedBatch]) -> list[str]:
    return [name for batch in batches for name in batch.ids]


def left_out(batches: Iterable[CapturedBatch]) -> Counter[str]:
    return sum((batch.left_out for batch in batches), Counter())


def test_neighbours_of_equal_shape_come_as_one_batch(tmp_path: Path) -> None:
    captured(tmp_path, recorded((1, 2)), recorded((3,), start=7))

    (batch,) = Captured(tmp_path).batches()

    assert list(batch.ids) == ["id-0", "id-1", "id-7"]
    assert batch.rows_each.tolist() == [1, 2, 3]
    assert batch.inputs["x"].shape == (6, 3)
    assert batch.outputs["label"].tolist() == [0, 1, 2, 7, 8, 9]
    assert (batch.version, batch.digest, batch.server) == (2, "sha256:" + "0" * 64, "s1")
    assert batch.arrived_ns[0] == pytest.approx((EPOCH_S + 10.0) * 1e9, abs=1e3)


def test_a_part_of_a_batch_has_its_own_rows(tmp_path: Path) -> None:
    captured(tmp_path, recorded((1, 2, 3)))

    (batch,) = Captured(tmp_path).batches()
    part = batch.slice(1, 3)

    assert list(part.ids) == ["id-1", "id-2"]
    assert part.outputs["label"].tolist() == [1, 2, 3, 4, 5]


def test_another_shape_begins_another_batch(tmp_path: Path) -> None:
    wide = recorded((1,), inputs={"x": np.zeros((1, 5), np.float32)})
    captured(tmp_path, recorded((1,)), wide, recorded((1,)))

    assert [batch.inputs["x"].shape for batch in Captured(tmp_path).batches()] == [(1, 3), (1, 5), (1, 3)]


def test_a_request_that_is_no_rows_comes_as_it_stands(tmp_path: Path) -> None:
    odd = recorded((1,), outputs={"label": np.arange(4), "p": np.zeros((4, 2), np.float32)}, is_sliced=False)
    captured(tmp_path, recorded((2,)), odd)

    first, second = Captured(tmp_path).batches()

    assert (first.has_rows, second.has_rows) == (True, False)
    assert second.outputs["label"].shape == (4,)
    assert second.rows == 1


def test_what_failed_or_was_redacted_or_a_shadow_answered_is_left_out_and_counted(tmp_path: Path) -> None:
    captured(
        tmp_path,
        recorded((1,), start=0),
        recorded((1, 1), start=10, status=400, outputs=None),
        recorded((1,), start=20, stage="shadow"),
        recorded((1,), start=30, inputs=None),
        recorded((1,), start=40, outputs=None),
        recorded((1,), start=50),
    )

    batches = list(Captured(tmp_path).batches())

    assert ids(batches) == ["id-0", "id-50"]
    assert left_out(batches) == {"status 400": 2, "stage shadow": 1, "redacted": 2}


def test_outputs_that_were_not_asked_for_are_not_there(tmp_path: Path) -> None:
    captured(tmp_path, recorded((1, 1), asked=[("p",), None]))

    first, second = Captured(tmp_path).batches()

    assert list(first.outputs) == ["p"]
    assert list(second.outputs) == ["label", "p"]


def test_a_window_bounds_times_and_the_version(tmp_path: Path) -> None:
    captured(tmp_path, *(recorded((1,), start=number, at_s=float(number)) for number in range(5)))
    capture = Captured(tmp_path)
    start = int(EPOCH_S * 1e9)

    found = capture.batches(Window(start + 1_000_000_000 - 1000, start + 3_000_000_000 - 1000))

    assert ids(found) == ["id-1", "id-2"]
    assert ids(capture.batches(Window(version=3))) == []
    assert len(ids(capture.batches(Window(version=2)))) == 5


def test_pieces_of_a_large_request_say_where_they_begin(tmp_path: Path) -> None:
    pieces = [recorded((2,), first_rows=[first], ids=[b"large"]) for first in (0, 2)]
    captured(tmp_path, *pieces)

    (batch,) = Captured(tmp_path).batches()

    assert list(batch.ids) == ["large", "large"]
    assert batch.first_rows.tolist() == [0, 2]


@pytest.mark.parametrize("is_compacted", [pytest.param(False, id="segments"), pytest.param(True, id="parquet")])
def test_reading_goes_on_from_any_place_as_it_would_have(tmp_path: Path, is_compacted: bool) -> None:
    size = GATHER_REQUESTS // 3 + 1
    parts = [recorded((1,) * size, start=size * number, batch_id=number) for number in range(15)]
    captured(tmp_path, *parts)
    if is_compacted:
        compact(tmp_path)
    whole = list(Captured(tmp_path).batches())
    assert len(whole) > 3

    for number, batch in enumerate(whole[:-1]):
        assert batch.place is not None
        rest = list(Captured(tmp_path).batches(start=batch.place))

        assert [list(one.ids) for one in rest] == [list(one.ids) for one in whole[number + 1 :]]


def test_no_run_is_cut_in_two(tmp_path: Path) -> None:
    parts = [recorded((1,) * 500, start=500 * number, batch_id=number) for number in range(40)]
    captured(tmp_path, *parts)
    compact(tmp_path)

    batches = list(Captured(tmp_path).batches())

    seen = [set(batch.batch_id.tolist()) for batch in batches]
    assert len(batches) > 1
    assert sum(map(len, seen)) == 40


def test_what_comes_after_the_listing_is_not_read(tmp_path: Path) -> None:
    growing = writer(tmp_path)
    growing.write([recorded((1,))])
    capture = Captured(tmp_path)
    growing.write([recorded((1,), start=5)])

    assert ids(capture.batches()) == ["id-0"]
    growing.close()
    assert ids(Captured(tmp_path, capture.listed).batches()) == ["id-0"]  # it was sealed meanwhile
    assert ids(Captured(tmp_path).batches()) == ["id-0", "id-5"]


def test_a_listing_whose_files_are_gone_is_refused(tmp_path: Path) -> None:
    captured(tmp_path)
    listed = Captured(tmp_path).listed
    compact(tmp_path)

    with pytest.raises(Conflict, match="not there any more"):
        Captured(tmp_path, listed)


def test_a_damaged_segment_is_read_up_to_the_damage(tmp_path: Path) -> None:
    captured(tmp_path, *(recorded((1,), start=10 * number) for number in range(3)))
    (file,) = files_of(tmp_path)
    content = bytearray(file.read_bytes())
    content[-400] ^= 1
    file.write_bytes(content)

    found = ids(Captured(tmp_path).batches())

    assert found == ["id-0", "id-10", "id-20"][: len(found)]
    assert 1 <= len(found) < 3


def test_a_folder_of_several_models_is_refused(tmp_path: Path) -> None:
    captured(tmp_path)
    (tmp_path / "other").mkdir()

    with pytest.raises(InvalidInput, match="no captured requests"):
        Captured(tmp_path / "other")


def test_redaction_shows(tmp_path: Path) -> None:
    captured(tmp_path / "plain")
    captured(tmp_path / "redacted", redaction=Redaction(key=b"0" * 16))

    assert not Captured(tmp_path / "plain").is_redacted


def test_streams_tell_when_they_begin(tmp_path: Path) -> None:
    for server, at_s in (("a", 3.0), ("b", 1.0)):
        one = writer(tmp_path, Clock(), server)
        one.write([recorded((1,), at_s=at_s)])
        one.close()

    found = {stream.file.header.server: stream.first_ns for stream in Captured(tmp_path).streams()}
    compact(tmp_path)
    (compacted,) = Captured(tmp_path).streams()

    assert found["a"] - found["b"] == 2_000_000_000
    assert compacted.first_ns == found["b"]


def test_memory_is_bounded_however_much_there_is(tmp_path: Path) -> None:
    """Ten times the requests take no more memory: the peak is that of a few gathered blocks."""

    def peak_of(parts: int) -> int:
        folder = tmp_path / str(parts)
        one = writer(folder, segment_bytes=1 << 20)
        for number in range(parts):
            one.write([recorded((1,) * 2000, start=2000 * number, batch_id=number)])
        one.close()
        gc.collect()
        tracemalloc.start()
        count = sum(batch.requests for batch in Captured(folder).batches())
        (_, peak) = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == 2000 * parts
        return peak

    few, many = peak_of(10), peak_of(100)

    assert many < 1.5 * few + (4 << 20)
