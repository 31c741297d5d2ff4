"""Runs are cut as they were recorded, filled up, or one request each."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlserve.replay.runs import edges_of, is_whole
from mlserve.rows.captured import CapturedBatch
from mlserve.rows.captured_reading import Captured
from tests.traffic.making import captured, recorded


def batch_of(folder: Path, *runs: tuple[int, ...], **changes: object) -> CapturedBatch:
    parts = [recorded(rows, start=10 * at, batch_id=at + 1, **changes) for at, rows in enumerate(runs)]
    captured(folder, *parts)
    (batch,) = Captured(folder).batches()
    return batch


def test_recorded_runs_are_those_that_there_were(tmp_path: Path) -> None:
    batch = batch_of(tmp_path, (1, 1, 1), (2,), (1, 4))

    edges = edges_of(batch, "recorded", 8)

    assert edges == [0, 3, 4, 6]
    assert is_whole(batch, edges) == 3


def test_requests_without_a_run_have_one_each(tmp_path: Path) -> None:
    captured(tmp_path, recorded((1, 1), batch_id=-1, batch_rows=0))
    (batch,) = Captured(tmp_path).batches()

    assert edges_of(batch, "recorded", 8) == [0, 1, 2]


def test_a_run_of_which_a_share_was_captured_is_not_whole(tmp_path: Path) -> None:
    batch = batch_of(tmp_path, (1, 1), batch_rows=7)

    assert is_whole(batch, edges_of(batch, "recorded", 8)) == 0


@pytest.mark.parametrize(
    ("rows", "edges"),
    [
        pytest.param((1, 1, 1, 1, 1), [0, 4, 5], id="single rows"),
        pytest.param((2, 2, 2), [0, 2, 3], id="rows of requests stay together"),
        pytest.param((9, 1, 1), [0, 1, 3], id="a request larger than a run has one"),
        pytest.param((3, 3, 1, 1), [0, 1, 3, 4], id="as many as fit"),
    ],
)
def test_fresh_runs_take_as_many_requests_as_fit(tmp_path: Path, rows: tuple[int, ...], edges: list[int]) -> None:
    assert edges_of(batch_of(tmp_path, rows), "fresh", 4) == edges


@pytest.mark.parametrize("composition", ["recorded", "fresh"])
def test_where_rows_may_share_no_run_each_request_has_one(tmp_path: Path, composition: object) -> None:
    batch = batch_of(tmp_path, (1, 2), (1,))

    assert edges_of(batch, composition, None) == [0, 1, 2, 3]  # type: ignore[arg-type]
