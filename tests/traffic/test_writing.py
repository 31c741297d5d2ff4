"""From what was recorded to disk and back: every value, type and shape; and what a disk or a budget does not take."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import InvalidConfig
from mlserve.rows.capture_file import files_of, open_file
from mlserve.traffic.recorded import Recorded, Source
from mlserve.traffic.surveying import requests_of, survey
from mlserve.traffic.writing import read_key
from tests.traffic.making import EPOCH_S, SOURCE, Clock, captured, recorded, writer

Array = np.ndarray[Any, Any]


def test_every_request_comes_back_as_it_was(tmp_path: Path) -> None:
    captured(tmp_path, recorded((1, 2)), recorded((1,), start=100, at_s=11.0, batch_id=2))

    first, second, third = requests_of(tmp_path)
    assert first["inputs"] == {"x": [[0.0, 1.0, 2.0]]}
    assert second["inputs"] == {"x": [[3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]}
    assert second["outputs"]["label"] == [1, 2]
    assert third["outputs"]["p"] == np.array([[100, 101]], np.float32).__truediv__(np.float32(7)).tolist()
    assert [one["request_id"] for one in (first, second, third)] == ["id-0", "id-1", "id-100"]
    assert (second["slot"], second["rows"], second["batch_rows"], second["batch_id"]) == (1, 2, 3, 1)
    assert (third["slot"], third["batch_id"]) == (0, 2)
    assert first["arrived_at"] == "2026-11-27T05:30:10.000000Z"
    assert first["queue_ns"] == 500_000_000
    assert first["compute_ns"] == 2_000_000
    assert (first["model"], first["version"], first["digest"]) == ("fraud", 2, SOURCE.digest)
    assert {one["stage"] for one in (first, second, third)} == {"production"}


VALUES: list[tuple[DType, Any]] = [
    (DType.BOOL, [[True], [False]]),
    *((dtype, [[0], [100]]) for dtype in (DType.INT8, DType.UINT8, DType.INT16, DType.UINT16)),
    *((dtype, [[0], [1 << 30]]) for dtype in (DType.INT32, DType.UINT32, DType.INT64, DType.UINT64)),
    *((dtype, [[1.5], [float("nan")]]) for dtype in (DType.FLOAT16, DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16)),
    (DType.FLOAT8E4M3FN, [[0.5], [448.0]]),
    (DType.STRING, [["ä\n\x00"], [""]]),
]


@pytest.mark.parametrize(("dtype", "values"), VALUES, ids=lambda value: value.value if isinstance(value, DType) else "")
def test_every_type_comes_back_bit_by_bit(tmp_path: Path, dtype: DType, values: Any) -> None:
    array = np.array(values, dtype.numpy)
    spec = TensorSpec("t", dtype, ("batch", 1))
    source = Source("m", 1, None, Signature((spec,), (spec,)))
    one = recorded((1, 1), source=source, inputs={"t": array}, outputs={"t": array[::-1]})

    captured(tmp_path, one)

    found = tensors(tmp_path, "input")["t"]
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tolist() == array.tolist() if array.dtype == object else found.tobytes() == array.tobytes()


def tensors(folder: Path, role: str) -> dict[str, Array]:
    """All rows of all tensors in a capture."""
    from mlserve.rows.capture_format import tensors_of
    from mlserve.rows.capture_table import rows_of

    parts: list[dict[str, Array]] = []
    for path in files_of(folder):
        file = open_file(path)
        assert file is not None
        for batch in file.batches():
            parts += rows_of(batch, role, tensors_of(file.schema, role))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_what_was_not_asked_for_or_failed_is_null(tmp_path: Path) -> None:
    some = recorded((1, 2, 1), asked=[None, ("label",), ("p", "label")])
    failed = recorded((1,), status=400, outputs=None, start=50)
    unreadable = recorded((1,), status=400, inputs=None, outputs=None, start=60)

    captured(tmp_path, some, failed, unreadable)

    outputs = [one["outputs"] for one in requests_of(tmp_path)]
    assert outputs[1] == {"label": [1, 2], "p": None}
    assert outputs[2]["label"] == [3]
    assert outputs[2]["p"] is not None
    assert outputs[3] == outputs[4] == {"label": None, "p": None}
    assert list(requests_of(tmp_path))[4]["inputs"] == {"x": None}


def test_tensors_that_are_no_rows_keep_their_shape(tmp_path: Path) -> None:
    signature = Signature(
        (TensorSpec("a", DType.FLOAT32, (2, "n")), TensorSpec("s", DType.INT64, ())),
        (TensorSpec("y", DType.FLOAT32, ()),),
    )
    source = Source("odd", 1, None, signature)
    inputs = {"a": np.ones((2, 5), np.float32), "s": np.array(7)}
    whole = recorded((1,), source=source, is_sliced=False, inputs=inputs, outputs={"y": np.float32(3.5).reshape(())})

    captured(tmp_path, whole)

    (one,) = requests_of(tmp_path)
    assert one["inputs"] == {"a": [[1.0] * 5] * 2, "s": 7}
    assert one["outputs"] == {"y": 3.5}


def test_rows_of_other_lengths_keep_theirs(tmp_path: Path) -> None:
    signature = Signature((TensorSpec("ids", DType.INT64, ("batch", "n")),), ())
    source = Source("text", 1, None, signature)
    parts = [
        recorded((2,), source=source, inputs={"ids": np.arange(2 * n).reshape(2, n)}, outputs={}) for n in (3, 5, 0)
    ]

    one = writer(tmp_path)
    one.write(parts)
    one.close()

    assert [len(found["inputs"]["ids"][0]) for found in requests_of(tmp_path)] == [3, 5, 0]


def test_who_asked_for_a_version_was_answered_for_no_stage(tmp_path: Path) -> None:
    captured(tmp_path, recorded((1, 1), pinned=[True, False], unit_keys=[None, "ab"], first_rows=[0, 16]))

    first, second = requests_of(tmp_path)
    assert (first["stage"], second["stage"]) == ("", "production")
    assert (first["unit_key_hash"], second["unit_key_hash"]) == (None, "ab")
    assert (first["first_row"], second["first_row"]) == (0, 16)


def test_ids_that_are_no_text_are_kept_as_near_as_can_be(tmp_path: Path) -> None:
    captured(tmp_path, recorded((1,), ids=[b"\xff-1"]))

    assert next(requests_of(tmp_path))["request_id"] == "�-1"


def test_a_share_is_chosen_by_id_and_weighed(tmp_path: Path) -> None:
    ids = [b"request-%d" % n for n in range(4000)]
    for folder in ("a", "b"):
        one = writer(tmp_path / folder, share=0.25)
        one.write([recorded((1,) * 4000, ids=ids)])
        one.close()

    first, again = ([one["request_id"] for one in requests_of(tmp_path / folder)] for folder in ("a", "b"))
    assert first == again
    assert 850 < len(first) < 1150  # five standard deviations
    assert next(requests_of(tmp_path / "a"))["weight"] == 4.0


def test_segments_are_sealed_when_large_or_old(tmp_path: Path) -> None:
    clock = Clock()
    one = writer(tmp_path, clock, segment_bytes=100_000, segment_s=60.0)
    one.write([recorded((1,) * 1000)])
    assert names(tmp_path) == ["mlcap"]
    one.write([recorded((1,))])
    assert names(tmp_path) == ["mlcap", "open"]
    clock.advance(61)
    one.tend()
    assert names(tmp_path) == ["mlcap", "mlcap"]
    one.close()
    assert sum(found.requests for found in survey(tmp_path)) == 1001


def names(folder: Path) -> list[str]:
    return [path.name.rpartition(".")[2] for path in files_of(folder)]


def test_a_version_has_segments_of_its_own(tmp_path: Path) -> None:
    other = Source("fraud", 3, None, SOURCE.signature)
    one = writer(tmp_path)
    one.write([recorded(), recorded(source=other), recorded((1, 1), start=10)])
    one.close()

    assert [(found.version, found.requests) for found in survey(tmp_path)] == [(2, 5), (3, 3)]


def test_the_oldest_sealed_segments_make_room(tmp_path: Path) -> None:
    clock = Clock()
    one = writer(tmp_path, clock, segment_bytes=1 << 16, max_bytes=400_000)
    for number in range(10):
        one.write([recorded((1,) * 800, start=10_000 * number)])
        clock.advance(2)
    one.close()

    kept = [found["inputs"]["x"][0][0] for found in requests_of(tmp_path)]
    assert kept[-1] == 90_000 + 3 * 799
    assert kept[0] > 10_000
    assert one.removed_bytes > 0
    assert sum(path.stat().st_size for path in files_of(tmp_path)) <= 400_000 + (1 << 17)


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """A disk that is full for every file longer than this."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_drops_and_counts_and_the_capture_goes_on_after_it(tmp_path: Path) -> None:
    clock = Clock()
    one = writer(tmp_path, clock)
    one.write([recorded((1,) * 100)])
    with files_of_at_most(50_000):
        one.write([recorded((1,) * 1000, start=1000)])  # does not fit, in whole or in part
        assert one.dropped == 1000
        one.write([recorded((1,), start=5000)])  # not even tried for a while
        assert one.dropped == 1001
    clock.advance(6)
    one.write([recorded((1, 1), start=9000)])
    one.close()

    assert [found["request_id"] for found in requests_of(tmp_path)][-2:] == ["id-9000", "id-9001"]
    assert one.written == 102
    assert [(found.requests, found.damaged_bytes) for found in survey(tmp_path)] == [(102, 0)]


def test_a_segment_cut_or_damaged_anywhere_gives_what_was_written_before(tmp_path: Path) -> None:
    captured(tmp_path / "whole", recorded((1, 1)), recorded((1,), start=10))
    (segment,) = files_of(tmp_path / "whole")
    content = segment.read_bytes()
    expected = [one["request_id"] for one in requests_of(segment)]
    broken = tmp_path / "broken.mlcap"
    seen = set()

    for at in range(len(content)):
        for damaged in (content[:at], content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]):
            broken.write_bytes(damaged)
            file = open_file(broken)
            found = [] if file is None else [i for b in file.batches() for i in b.column("request_id").to_pylist()]
            assert found == expected[: len(found)], at
            seen.add(len(found))

    assert seen == {0, 2, 3}


def test_a_folder_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InvalidConfig, match="cannot be made"):
        writer(file / "capture")


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    captured(tmp_path / "capture")

    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "capture").rglob("*")}
    assert modes == {0}
    assert (tmp_path / "capture").stat().st_mode & 0o077 == 0


def test_a_key_is_a_secret_of_some_length(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("abc\n")
    with pytest.raises(InvalidConfig, match="has 3 bytes"):
        read_key(tmp_path / "short")
    with pytest.raises(InvalidConfig, match="cannot be read"):
        read_key(tmp_path / "none")


def test_bfloat16_is_read_as_what_it_stands_for(tmp_path: Path) -> None:
    spec = TensorSpec("t", DType.BFLOAT16, ("batch",))
    source = Source("m", 1, None, Signature((spec,), ()))
    one: Recorded = recorded((1,), source=source, inputs={"t": np.array([1.5], ml_dtypes.bfloat16)}, outputs={})

    captured(tmp_path, one)

    assert next(requests_of(tmp_path))["inputs"] == {"t": [1.5]}
    assert EPOCH_S > 0
