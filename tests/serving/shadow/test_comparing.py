"""What a shadow has learned survives its process, adds up over workers, and counts each mirrored request once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from mlserve.serving.shadow.comparing import Comparing, pairs_of
from mlserve.serving.shadow.messages import Opening
from mlserve.serving.shadow.mirrored import Mirrored, frame_of, mirrored_in
from mlserve.serving.shadow.pooling import pooled
from mlserve.serving.shadow.ring import ALIGNMENT, Ring, make_ring
from mlserve.serving.shadow.running import Ran
from tests.traffic.making import recorded


@pytest.fixture
def ring() -> Iterator[Ring]:
    descriptor = make_ring(1 << 16)
    made = Ring(descriptor)
    yield made
    made.close()
    os.close(descriptor)


def opening(folder: Path, pid: int = 1, **more: Any) -> Opening:
    given: dict[str, Any] = {
        "name": "fraud", "version": 3, "digest": "sha256:3", "generation": 1, "since": "2026-01-01T00:00:00Z",
        "traffic": 1.0, "champion": 2, "champion_digest": "sha256:2", "path": "", "certificate": None, "ring": 0,
        "folder": str(folder), "state": str(folder / f"p.{pid}.shadow"), "siblings": str(folder / "p.*.shadow"),
        "is_folder_ours": False, "serve": {},
    }  # fmt: skip
    return Opening(**{**given, **more})


def mirrored(rows: list[int], start: int = 0) -> Mirrored:
    parts = frame_of(recorded(rows, start=start))
    return mirrored_in(b"".join(bytes(part) + bytes(-len(part) % ALIGNMENT) for part in parts))


def ran(rows: list[int], start: int = 0, off: float = 0.0) -> Ran:
    one = mirrored(rows, start)
    outputs = {name: array + np.array(off, array.dtype) for name, array in one.outputs.items()}
    return Ran(one, outputs, run_s=0.002, cpu_s=0.001)


def put(ring: Ring, requests: int) -> None:
    """So many requests written and taken."""
    ring.write([b"x"], requests)
    ring.take()


def test_rows_are_counted_by_how_they_compare_and_requests_by_what_became_of_them(tmp_path: Path, ring: Ring) -> None:
    comparing = Comparing(opening(tmp_path), ring)
    put(ring, 6)
    ring.note_dropped(4)
    comparing.add([ran([1, 2]), ran([1], start=9, off=0.5)])
    comparing.add([Ran(mirrored([1, 1]), None, "no such row", 400)])

    document = comparing.document()

    assert {name: document[name] for name in ("mirrored", "dropped", "compared", "failed", "in_ring")} == {
        "mirrored": 10, "dropped": 4, "compared": 3, "failed": 2, "in_ring": 1,
    }  # fmt: skip
    assert {name: document[name] for name in ("rows", "identical", "within_tolerance", "differing")} == {
        "rows": 4, "identical": 3, "within_tolerance": 3, "differing": 1,
    }  # fmt: skip
    assert document["failures"][0] == {"request_id": "id-0", "error": "no such row"}
    assert document["latency"]["shadow"]["mean_ms"] == pytest.approx(2.0)
    assert document["latency"]["champion"]["mean_ms"] == pytest.approx(2.0)
    assert msgspec.json.decode(msgspec.json.encode(document)) == document, "JSON values throughout"


def test_a_successor_goes_on_and_counts_what_was_lost_as_failed(tmp_path: Path, ring: Ring) -> None:
    first = Comparing(opening(tmp_path), ring)
    put(ring, 3)
    first.add([ran([1, 1, 1])])
    first.checkpoint()
    put(ring, 2)
    first.add([ran([1, 1], start=3)])  # killed before this was put into the file

    document = Comparing(opening(tmp_path), ring).document()

    assert (document["compared"], document["failed"], document["mirrored"]) == (3, 2, 5)
    assert document["rows"] == document["identical"] == 3
    assert "ended" in document["failures"][0]["error"]


def test_a_file_that_is_no_file_of_ours_is_begun_anew(tmp_path: Path, ring: Ring) -> None:
    (tmp_path / "p.1.shadow").write_bytes(b"\x00 not this")

    assert Comparing(opening(tmp_path), ring).document()["compared"] == 0


def test_workers_are_told_of_as_one(tmp_path: Path, ring: Ring) -> None:
    other = make_ring(1 << 16)
    second_ring = Ring(other)
    put(ring, 2)
    put(second_ring, 3)
    first, second = Comparing(opening(tmp_path, 1), ring), Comparing(opening(tmp_path, 2), second_ring)
    first.add([ran([1, 1])])
    second.add([ran([1, 1, 1], off=0.5)])
    second.checkpoint()

    document = first.document()

    assert (document["mirrored"], document["compared"], document["rows"], document["identical"]) == (5, 5, 5, 2)
    second_ring.close()
    os.close(other)


def test_what_nobody_will_take_is_dropped_at_the_end(tmp_path: Path, ring: Ring) -> None:
    comparing = Comparing(opening(tmp_path), ring)
    ring.write([b"x"], 7)

    comparing.close()

    told = Comparing(opening(tmp_path), ring).document()
    assert comparing.told().in_ring == 0
    assert comparing.told().dropped == 7
    assert told["mirrored"] == 7


def test_pairs_of_many_runs_are_the_rows_of_each(tmp_path: Path) -> None:
    runs = [ran([1, 2]), ran([3], start=5, off=0.25), ran([1], start=50)]
    parts = [pairs_of(one) for one in runs]
    narrow = pairs_of(Ran(mirrored([1]), {"p": np.zeros((1, 3), np.float32)}))

    whole, odd = pooled([*parts, narrow])

    assert whole.request_ids == [name for part in parts for name in part.request_ids]
    assert whole.rows_each.tolist() == [1, 2, 3, 1]
    for role in ("inputs", "expected", "actual"):
        for name, array in getattr(whole, role).items():
            assert array.tobytes() == b"".join(getattr(part, role)[name].tobytes() for part in parts)
    assert odd.actual.keys() == {"p"}
