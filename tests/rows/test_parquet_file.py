"""``.parquet`` files: every type that can be a tensor, lists at any depth, nulls."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlserve.errors import InvalidInput
from mlserve.rows.parquet_file import ParquetTable


def written(folder: Path, row_group_size: int | None = None, **columns: object) -> Path:
    table = pa.table(
        {name: c if isinstance(c, (pa.Array, pa.ChunkedArray)) else pa.array(c) for name, c in columns.items()}
    )
    pq.write_table(table, folder / "a.parquet", row_group_size=row_group_size)
    return folder / "a.parquet"


def read(path: Path, name: str = "a", rows: int = 100) -> list[np.ndarray]:
    return [batch[name] for batch in ParquetTable(path).batches(rows)]


@pytest.mark.parametrize(
    ("column", "values", "dtype"),
    [
        pytest.param(pa.array([1, 2], pa.int8()), [1, 2], np.int8, id="int8"),
        pytest.param(pa.array([1, 2], pa.uint64()), [1, 2], np.uint64, id="uint64"),
        pytest.param(pa.array([1.5, 2.5], pa.float32()), [1.5, 2.5], np.float32, id="float32"),
        pytest.param(pa.array(np.array([1.5, 2.5], np.float16)), [1.5, 2.5], np.float16, id="float16"),
        pytest.param(pa.array([True, False]), [True, False], np.bool_, id="bool"),
        pytest.param(pa.array(["a", None]), ["a", None], np.object_, id="text with null"),
        pytest.param(pa.array(["a", "b"], pa.large_string()), ["a", "b"], np.object_, id="large text"),
        pytest.param(pa.array([b"a", b"b"]), ["a", "b"], np.object_, id="bytes"),
        pytest.param(pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"], np.object_, id="categories"),
        pytest.param(pa.array([True, None]), [True, None], np.object_, id="bool with null"),
        pytest.param(pa.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]], np.int64, id="lists"),
        pytest.param(pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2)), [[1, 2], [3, 4]], np.int8, id="fixed lists"),
        pytest.param(pa.array([[1], [3]], pa.large_list(pa.int8())), [[1], [3]], np.int8, id="large lists"),
        pytest.param(pa.array([[["a"]], [["b"]]]), [[["a"]], [["b"]]], np.object_, id="lists of lists of text"),
        pytest.param(pa.array([[], []], pa.list_(pa.list_(pa.int8()))), [[], []], np.float64, id="lists of no lists"),
        pytest.param(pa.array([[], []], pa.list_(pa.int8())), [[], []], np.int8, id="empty lists"),
    ],
)
def test_types(tmp_path: Path, column: pa.Array, values: list, dtype: type):
    (array,) = read(written(tmp_path, a=column))

    assert array.tolist() == values
    assert array.dtype == dtype


@pytest.mark.parametrize(
    ("column", "values"),
    [
        pytest.param(pa.array([1.0, None]), [1.0, np.nan], id="floats"),
        pytest.param(pa.array([1, None]), [1.0, np.nan], id="integers"),
        pytest.param(pa.array([None, None]), [np.nan, np.nan], id="nothing else"),
        pytest.param(pa.array([[1.0, None], [None, 2.0]]), [[1.0, np.nan], [np.nan, 2.0]], id="within lists"),
        pytest.param(pa.array([1, None], pa.decimal128(5, 2)), [1.0, np.nan], id="decimals"),
    ],
)
def test_a_null_among_numbers_is_nan(tmp_path: Path, column: pa.Array, values: list):
    np.testing.assert_array_equal(read(written(tmp_path, a=column))[0], values)


def test_an_unknown_extension_type_is_read_as_what_it_is_made_of(tmp_path: Path):
    column = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0123456789abcdef"], pa.binary(16)))

    assert read(written(tmp_path, a=column))[0].tolist() == ["0123456789abcdef"]


def test_times_are_in_utc(tmp_path: Path):
    moments = pa.array([0, 1], pa.timestamp("s", tz="Europe/Oslo"))

    (array,) = read(written(tmp_path, a=moments))

    assert array.astype("M8[s]").astype(int).tolist() == [0, 1]


def test_a_tensor_column_keeps_its_shape(tmp_path: Path):
    tensors = np.arange(12, dtype=np.float32).reshape(2, 2, 3)

    (array,) = read(written(tmp_path, a=pa.FixedShapeTensorArray.from_numpy_ndarray(tensors)))

    np.testing.assert_array_equal(array, tensors)


@pytest.mark.parametrize(
    ("column", "fact"),
    [
        pytest.param(pa.array([[1], None, [3]]), "row 2, column 'a': null, where a list is expected", id="null list"),
        pytest.param(pa.array([[[1]], [[1, 2], [3]]]), "row 2, column 'a': ragged", id="ragged within"),
        pytest.param(pa.array([{"x": 1}]), "column 'a': struct<x: int64> is neither", id="struct"),
        pytest.param(pa.array([[{"x": 1}]]), "column 'a': struct<x: int64> is neither", id="list of structs"),
        pytest.param(pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())), "map<.*> is neither", id="map"),
        pytest.param(pa.array([b"\xff\xfe"]), "bytes that are not UTF-8", id="bytes"),
    ],
)
def test_what_is_no_tensor_is_named(tmp_path: Path, column: pa.Array, fact: str):
    with pytest.raises(InvalidInput, match=fact):
        read(written(tmp_path, a=column))


def test_lists_of_lists_may_differ_from_row_to_row(tmp_path: Path):
    rows = [[[1]], [[2]], [[3, 4]], [[5, 6]], [[7, 8], [9, 10]]]

    runs = read(written(tmp_path, a=rows))

    assert [run.shape for run in runs] == [(2, 1, 1), (2, 1, 2), (1, 2, 2)]
    assert [row for run in runs for row in run.tolist()] == rows


def test_rows_of_all_columns_stay_together_where_one_changes_its_shape(tmp_path: Path):
    path = written(tmp_path, a=[[1], [2], [3, 4]], b=[1, 2, 3])

    assert [batch["b"].tolist() for batch in ParquetTable(path).batches(10)] == [[1, 2], [3]]


def test_a_damaged_type_in_a_column_nobody_asks_for_does_no_harm(tmp_path: Path):
    path = written(tmp_path, a=[1, 2], b=[{"x": 1}, {"x": 2}])

    (batch,) = ParquetTable(path).batches(10, only={"a"})

    assert batch["a"].tolist() == [1, 2]


def test_row_groups_are_no_borders_that_a_reader_sees_twice(tmp_path: Path):
    path = written(tmp_path, row_group_size=3, a=list(range(10)))

    assert np.concatenate(read(path, rows=4)).tolist() == list(range(10))


def test_two_columns_of_one_name_are_refused(tmp_path: Path):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "a.parquet")

    with pytest.raises(InvalidInput, match="has two columns 'a'"):
        ParquetTable(tmp_path / "a.parquet")


def test_memory_is_taken_for_a_batch_and_not_for_the_file(tmp_path: Path):
    rng = np.random.default_rng(0)
    path = written(tmp_path, a=rng.normal(size=4_000_000))
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    peak = 0

    for _ in ParquetTable(path).batches(1000):
        peak = max(peak, pool.bytes_allocated() - before)

    assert peak < 8 << 20 < 4_000_000 * 8
