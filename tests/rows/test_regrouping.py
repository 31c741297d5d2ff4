"""Batches out of pieces."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import InvalidInput
from mlserve.rows.regrouping import RowBatch, join, regroup, split_scalars
from mlserve.rows.tables import MAX_BATCH_BYTES, align, merge_runs

PATH = Path("f.npz")


def pieces_of(lengths: list[int], widths: list[int]) -> list[RowBatch]:
    pieces, start = [], 0
    for length, width in zip(lengths, widths, strict=False):
        rows = np.arange(start, start + length)
        pieces.append(RowBatch(start, {"x": np.repeat(rows[:, None], width, axis=1)}, {"label": rows}))
        start += length
    return pieces


@given(st.lists(st.integers(1, 9), max_size=12), st.integers(1, 7))
def test_no_row_is_lost_doubled_or_moved(lengths: list[int], rows: int):
    batches = list(regroup(pieces_of(lengths, [1] * 12), rows, step=None, path=PATH))

    total = sum(lengths)
    assert [row for batch in batches for row in batch.inputs["x"][:, 0].tolist()] == list(range(total))
    assert [row for batch in batches for row in batch.roles["label"].tolist()] == list(range(total))
    assert [batch.rows for batch in batches[:-1]] == [rows] * (len(batches) - 1)


@given(st.lists(st.integers(1, 4), max_size=8), st.lists(st.integers(1, 2), min_size=8, max_size=8), st.integers(1, 5))
def test_a_batch_never_mixes_shapes(lengths: list[int], widths: list[int], rows: int):
    batches = list(regroup(pieces_of(lengths, widths), rows, step=None, path=PATH))

    assert [row for batch in batches for row in batch.inputs["x"][:, 0].tolist()] == list(range(sum(lengths)))
    assert all(batch.rows <= rows for batch in batches)
    assert [batch.start for batch in batches] == [int(batch.inputs["x"][0, 0]) for batch in batches]


def test_a_batch_ends_before_it_is_too_large_to_hold():
    wide = np.broadcast_to(np.zeros(1), (1, MAX_BATCH_BYTES // 8))
    pieces = [RowBatch(i, {"x": wide}, {}) for i in range(3)]

    assert [batch.rows for batch in regroup(pieces, 1000, step=None, path=PATH)] == [1, 1, 1]


def test_shapes_that_differ_cannot_be_joined():
    with pytest.raises(InvalidInput, match=r"'f\.npz' row 3 has another shape"):
        join(pieces_of([2, 1], [1, 2]), PATH)


def test_a_slice_keeps_what_holds_for_all_rows():
    batch = RowBatch(10, {"x": np.arange(4), "t": np.array(0.5)}, {})

    part = batch.slice(1, 3)

    assert (part.start, part.inputs["x"].tolist(), part.inputs["t"].item()) == (11, [1, 2], 0.5)
    assert batch.first(99).rows == 4


def test_nan_without_rows_is_no_reason_to_join():
    pieces = [RowBatch(i, {"x": np.zeros(1), "t": np.array(t)}, {}) for i, t in enumerate([0.5, 0.5, np.nan])]

    assert [batch.rows for batch in regroup(pieces, 10, step=None, path=PATH)] == [2, 1]


def test_two_inputs_without_rows_divide_where_either_changes():
    signature = Signature(
        (TensorSpec("x", DType.INT64, ("n",)), TensorSpec("s", DType.INT64, ()), TensorSpec("t", DType.INT64, ())), ()
    )
    piece = RowBatch(0, {"x": np.arange(4), "s": np.array([1, 1, 2, 2]), "t": np.array([1, 2, 2, 2])}, {})

    parts = list(split_scalars(piece, signature))

    assert [(p.rows, p.inputs["s"].item(), p.inputs["t"].item()) for p in parts] == [(1, 1, 1), (1, 1, 2), (2, 2, 2)]


runs = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@given(runs, runs)
def test_columns_stay_aligned_whatever_their_runs_are(first: list[int], second: list[int]):
    total = min(sum(first), sum(second))
    columns = {"a": in_runs(first, total), "b": in_runs(second, total)}

    batches = list(align(columns))

    assert all(batch["a"].tolist() == batch["b"].tolist() for batch in batches)
    assert [row for batch in batches for row in batch["a"].tolist()] == list(range(total))


def in_runs(lengths: list[int], total: int) -> list[np.ndarray]:
    cuts = [cut for cut in np.cumsum(lengths).tolist() if cut < total]
    return np.split(np.arange(total), cuts)


def test_no_columns_are_no_batches():
    assert list(align({})) == []


def test_neighbours_of_one_shape_become_one_run():
    arrays = [np.zeros((1, 2)), np.zeros((3, 2)), np.zeros((1, 3)), np.zeros((1, 2))]

    assert [run.shape for run in merge_runs(arrays)] == [(4, 2), (1, 3), (1, 2)]
