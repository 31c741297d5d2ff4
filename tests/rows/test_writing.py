"""Outputs written are outputs read."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pyarrow.parquet as pq
import pytest

from mlserve.errors import InvalidInput, Unsupported
from mlserve.rows.reading import open_table
from mlserve.rows.writing import write_outputs

SUFFIXES = [".npz", ".parquet", ".csv", ".json", ".jsonl"]
LABELS = np.array([1, 0, 2])
SCORES = np.array([[0.1, 0.9], [0.5, 0.5], [1e-30, 1]], dtype=np.float32)


def read_back(path: Path) -> dict[str, np.ndarray]:
    (batch,) = open_table(path).batches(100)
    return batch


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "array",
    [
        pytest.param(LABELS, id="labels"),
        pytest.param(SCORES[:, 0], id="a score a row"),
        pytest.param(SCORES[:, 0].astype(np.float64) / 3, id="float64"),
        pytest.param(np.array([1, -2, 3], np.int8), id="int8"),
        pytest.param(np.array([2**64 - 1, 0, 1], np.uint64), id="uint64"),
        pytest.param(np.array([0.5, 1.5, 65504], np.float16), id="float16"),
        pytest.param(np.array([True, False, True]), id="booleans"),
        pytest.param(np.array(["a", 'b"\n', "Æ,"], object), id="text"),
        pytest.param(np.array(["a", "b", "c"]), id="text of fixed width"),
        pytest.param(np.array([b"a", b"b", b"c"]), id="bytes"),
        pytest.param(np.array([np.nan, np.inf, -np.inf], np.float32), id="special numbers"),
        pytest.param(np.array([np.nan, 1.5, 2], np.float16), id="special float16"),
        pytest.param(np.array([1.5, 2, 3], ml_dtypes.bfloat16), id="bfloat16"),
        pytest.param(np.array([-8, 7, 0], ml_dtypes.int4), id="int4"),
    ],
)
def test_values_come_back(tmp_path: Path, suffix: str, array: np.ndarray):
    path = tmp_path / f"out{suffix}"

    write_outputs(path, {"y": array, "row": np.arange(3)})

    wanted = array.astype(str).astype(object) if array.dtype.kind in "SU" else array
    is_number = array.dtype.kind in "fV"
    result = read_back(path)["y"]
    np.testing.assert_array_equal(result.astype(array.dtype) if is_number else result, wanted)


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".json", ".jsonl"])
@pytest.mark.parametrize("shape", [(3, 2), (3, 1), (3, 2, 4), (3, 0), (3, 2, 0)])
def test_shapes_come_back(tmp_path: Path, suffix: str, shape: tuple[int, ...]):
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    path = tmp_path / f"out{suffix}"

    write_outputs(path, {"y": values})

    np.testing.assert_array_equal(read_back(path)["y"].astype(np.float32), values)


def test_csv_has_a_column_for_each_value_of_a_row(tmp_path: Path):
    write_outputs(tmp_path / "out.csv", {"label": LABELS, "p": SCORES, "top": SCORES[:, :1], "none": SCORES[:, :0]})

    assert open_table(tmp_path / "out.csv").columns == ("label", "p_0", "p_1", "top")


def test_json_has_an_object_per_row_with_the_shortest_numbers(tmp_path: Path):
    write_outputs(tmp_path / "out.json", {"label": LABELS[:2], "p": SCORES[:2]})

    assert (tmp_path / "out.json").read_text() == '[\n{"label":1,"p":[0.1,0.9]},\n{"label":0,"p":[0.5,0.5]}\n]\n'


def test_json_spells_special_numbers_as_bare_tokens(tmp_path: Path):
    write_outputs(tmp_path / "out.jsonl", {"y": np.array([np.nan, -np.inf])})

    assert (tmp_path / "out.jsonl").read_text() == '{"y": NaN}\n{"y": -Infinity}\n'


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".csv", ".json"])
def test_no_rows_are_written_as_no_rows(tmp_path: Path, suffix: str):
    path = tmp_path / f"out{suffix}"

    write_outputs(path, {"y": np.zeros((0, 3), np.float32), "label": np.zeros(0, np.int64)})

    assert list(open_table(path).batches(5)) == []


def test_no_rows_in_json_lines_are_an_empty_file(tmp_path: Path):
    write_outputs(tmp_path / "out.jsonl", {"label": np.zeros(0, np.int64)})

    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_parquet_keeps_the_types(tmp_path: Path):
    write_outputs(tmp_path / "out.parquet", {"label": LABELS.astype(np.int32), "p": SCORES})

    schema = pq.read_schema(tmp_path / "out.parquet")

    assert str(schema.field("label").type) == "int32"
    assert schema.field("p").type.value_type == "float"


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".json", ".jsonl"])
@pytest.mark.parametrize(
    ("outputs", "fact"),
    [
        pytest.param({"a": np.zeros(2), "b": np.zeros(3)}, "do not have the same rows", id="lengths"),
        pytest.param({"a": np.zeros(2), "b": np.array(1.0)}, "do not have the same rows", id="a scalar"),
        pytest.param({}, "do not have the same rows", id="nothing"),
        pytest.param({"a": np.zeros(2, complex)}, "output 'a' holds complex numbers", id="complex"),
    ],
)
def test_what_a_form_cannot_hold_says_which_can(tmp_path: Path, suffix: str, outputs: dict, fact: str):
    with pytest.raises(Unsupported, match=fact) as caught:
        write_outputs(tmp_path / f"out{suffix}", outputs)

    assert ".npz" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_npz_holds_them_all(tmp_path: Path):
    outputs = {"a": np.zeros(2, complex), "file": np.array(1.0), "c": np.zeros((3, 4, 5))}

    write_outputs(tmp_path / "out.npz", outputs)

    with np.load(tmp_path / "out.npz") as loaded:
        assert {name: loaded[name].shape for name in loaded} == {"a": (2,), "file": (), "c": (3, 4, 5)}


@pytest.mark.parametrize(
    ("outputs", "fact"),
    [
        pytest.param({"a": np.zeros((2, 2, 2))}, "output 'a' has 3 dims, and CSV holds two", id="dims"),
        pytest.param(
            {"a": np.zeros((2, 2)), "a_0": np.zeros(2)}, "two outputs would have the CSV column 'a_0'", id="name"
        ),
    ],
)
def test_what_csv_cannot_hold_is_named(tmp_path: Path, outputs: dict, fact: str):
    with pytest.raises(Unsupported, match=fact):
        write_outputs(tmp_path / "out.csv", outputs)


def test_an_unknown_suffix_names_the_known_ones(tmp_path: Path):
    with pytest.raises(InvalidInput, match=r"outputs cannot be written as '\.pkl'") as caught:
        write_outputs(tmp_path / "out.pkl", {"a": LABELS})

    assert caught.value.hint == "one of .npz, .parquet, .csv, .json, .jsonl"


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(InvalidInput, match="cannot write"):
        write_outputs(tmp_path / "absent" / "out.json", {"a": LABELS})


def test_the_old_file_stays_when_writing_fails(tmp_path: Path):
    (tmp_path / "out.csv").write_text("old")

    with pytest.raises(Unsupported):
        write_outputs(tmp_path / "out.csv", {"a": np.zeros((2, 2, 2))})

    assert (tmp_path / "out.csv").read_text() == "old"


def test_rows_of_every_line_are_json(tmp_path: Path):
    write_outputs(tmp_path / "out.jsonl", {"t": np.array([["a"], ["b"]], object), "n": np.array([1, 2])})

    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]

    assert rows == [{"t": ["a"], "n": 1}, {"t": ["b"], "n": 2}]
