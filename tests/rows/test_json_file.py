"""``.jsonl`` and ``.json`` files: rows, and Open Inference Protocol requests."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlserve.errors import InvalidInput
from mlserve.rows import json_file
from mlserve.rows.json_file import JsonTable


def written(folder: Path, text: str | bytes, name: str = "a.jsonl") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def spelt(*values: str) -> str:
    return "".join(f'{{"a": {value}}}\n' for value in values)


def lines(*values: object) -> str:
    return spelt(*(json.dumps(value) for value in values))


def read(path: Path, rows: int = 100) -> list[list]:
    return [batch["a"].tolist() for batch in JsonTable(path).batches(rows)]


@pytest.mark.parametrize(
    ("values", "read_as"),
    [
        pytest.param([1, -2], [1, -2], id="whole numbers"),
        pytest.param([1, 2.5], [1.0, 2.5], id="a fraction"),
        pytest.param([True, False], [True, False], id="booleans"),
        pytest.param(["a", None], ["a", None], id="text with null"),
        pytest.param([True, None], [True, None], id="booleans with null"),
        pytest.param([[1, 2], [3, 4]], [[1, 2], [3, 4]], id="lists"),
        pytest.param([[["a"]], [["b"]]], [[["a"]], [["b"]]], id="lists of lists of text"),
        pytest.param([[], []], [[], []], id="empty lists"),
    ],
)
def test_values(tmp_path: Path, values: list, read_as: list):
    assert read(written(tmp_path, lines(*values))) == [read_as]


@pytest.mark.parametrize(
    ("values", "read_as"),
    [
        pytest.param(["1", "null"], [1, np.nan], id="null"),
        pytest.param(["NaN", "Infinity", "-Infinity"], [np.nan, np.inf, -np.inf], id="bare tokens"),
        pytest.param(["[1, null]", "[2.5, 3]"], [[1, np.nan], [2.5, 3]], id="null within a list"),
        pytest.param(["null", "null"], [np.nan, np.nan], id="nothing else"),
        pytest.param(["1" + "0" * 30, "null"], [1e30, np.nan], id="beyond 64 bits"),
    ],
)
def test_numbers_that_json_has_no_word_for(tmp_path: Path, values: list[str], read_as: list):
    np.testing.assert_array_equal(read(written(tmp_path, spelt(*values)))[0], read_as)


@pytest.mark.parametrize(
    ("values", "fact"),
    [
        pytest.param(["1", '"x"'], "row 2, column 'a': text here and numbers elsewhere", id="text after a number"),
        pytest.param(['"x"', "1"], "row 2, column 'a': text here and numbers elsewhere", id="a number after text"),
        pytest.param(['[1, "x"]'], "row 1, column 'a': ragged, or a mix of types", id="text among numbers"),
        pytest.param(["[1]", "[[1, 2], [3]]"], "row 2, column 'a': ragged", id="ragged within"),
        pytest.param(["1", "{}"], "row 2, column 'a': a JSON object", id="an object"),
        pytest.param(["[{}]"], "row 1, column 'a': ragged, or a mix of types", id="a list of objects"),
    ],
)
def test_a_value_that_does_not_fit_its_column_is_named(tmp_path: Path, values: list[str], fact: str):
    with pytest.raises(InvalidInput, match=fact):
        read(written(tmp_path, spelt(*values)))


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        pytest.param('{"a": 1}\n{"a": \n', "line 2 is not JSON", id="cut short"),
        pytest.param('{"a": 1}\n\n{"a": x}\n', "line 3 is not JSON", id="after a blank line"),
        pytest.param('{"a": 1}\n[1]\n', "line 2 is not an object", id="a list"),
        pytest.param('3\n{"a": 1}\n', "line 1 is not an object", id="a number"),
        pytest.param('{"a": 1}\n{"b": 1}\n', "line 2 has 'b', which the first row has not", id="another key"),
        pytest.param('{"a": 1, "b": 2}\n{"a": 1}\n', "line 2 has no 'b'", id="a key missing"),
        pytest.param('{"a": ' + "[" * 5000 + "]" * 5000 + "}\n", "line 1 is not JSON", id="nested without end"),
        pytest.param('{"a": ' + "[" * 100_000 + "NaN", "line 1 is not JSON", id="nested without end, with NaN"),
        pytest.param('{"a": NaN\n', "line 1 is not JSON", id="cut short after NaN"),
    ],
)
def test_a_line_that_is_no_row_is_named(tmp_path: Path, text: str, fact: str):
    with pytest.raises(InvalidInput, match=fact):
        read(written(tmp_path, text))


def test_a_column_that_turns_up_late_may_be_left_out(tmp_path: Path):
    table = JsonTable(written(tmp_path, '{"a": 1}\n{"a": 2, "b": 1}\n'))

    (batch,) = table.batches(10, only={"a"})

    assert batch["a"].tolist() == [1, 2]


def test_blank_lines_are_no_rows(tmp_path: Path):
    assert read(written(tmp_path, '\n{"a": 1}\n\n  \n{"a": 2}\n')) == [[1, 2]]


def test_a_line_that_never_ends_is_refused(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.truncate(json_file.MAX_LINE_BYTES + 10)

    with pytest.raises(InvalidInput, match="line 1 is longer than"):
        JsonTable(path)


def test_a_document_too_large_to_be_read_whole_says_how_to_stream_it(tmp_path: Path):
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(json_file.MAX_DOCUMENT_BYTES + 1)

    with pytest.raises(InvalidInput, match=r"a \.json file is read whole") as caught:
        JsonTable(path)

    assert ".jsonl" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        pytest.param('[{"a": 1}, {"a": 2}]', [1, 2], id="a list of rows"),
        pytest.param('{"a": 1}', [1], id="a row"),
        pytest.param('{\n  "a": 1\n}\n', [1], id="a row over several lines"),
        pytest.param('{"a": 1}\n{"a": 2}\n', [1, 2], id="lines"),
        pytest.param('[{"a": NaN}, {"a": 2}]', [np.nan, 2], id="with NaN"),
        pytest.param('\ufeff[{"a": 1}]', [1], id="with a byte order mark"),
    ],
)
def test_a_document_is_rows_a_row_or_lines(tmp_path: Path, text: str, values: list):
    np.testing.assert_array_equal(read(written(tmp_path, text, "a.json"))[0], values)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        pytest.param('[{"a": 1}', "is not JSON", id="cut short"),
        pytest.param("[1, 2]", "row 1 is not an object", id="a list of numbers"),
        pytest.param('[{"a": 1}, {"b": 2}]', "row 2 has 'b'", id="another key"),
        pytest.param("null", "row 1 is not an object", id="null"),
    ],
)
def test_a_document_that_is_no_data_is_named(tmp_path: Path, text: str, fact: str):
    with pytest.raises(InvalidInput, match=fact):
        read(written(tmp_path, text, "a.json"))


def request(**changes: object) -> dict[str, object]:
    return {"name": "a", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]} | changes


def of(*tensors: object) -> str:
    return json.dumps({"id": "1", "inputs": tensors}) + "\n"


@pytest.mark.parametrize(
    ("tensor", "values"),
    [
        pytest.param(request(), [[1, 2], [3, 4]], id="flat"),
        pytest.param(request(data=[[1, 2], [3, 4]]), [[1, 2], [3, 4]], id="nested"),
        pytest.param(request(datatype="BYTES", data=list("abcd")), [["a", "b"], ["c", "d"]], id="text"),
        pytest.param(request(shape=[2], datatype="BOOL", data=[True, False]), [True, False], id="booleans"),
        pytest.param(request(shape=[2, 1, 1], datatype="BF16", data=[0.5, 1]), [[[0.5]], [[1.0]]], id="bfloat16"),
    ],
)
def test_a_request_is_read_as_its_tensors(tmp_path: Path, tensor: dict, values: list):
    assert read(written(tmp_path, of(tensor))) == [values]


def test_a_request_of_no_rows_is_no_batch(tmp_path: Path):
    assert read(written(tmp_path, of(request(shape=[0, 2], data=[])))) == []


def test_a_row_with_a_column_called_inputs_is_a_row(tmp_path: Path):
    (batch,) = JsonTable(written(tmp_path, '{"inputs": [1, 2]}\n')).batches(1)

    assert batch["inputs"].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        pytest.param(of(request(shape=[3])), r"input 'a': shape \[3\] takes 3 values and there are 4", id="count"),
        pytest.param(of(request(shape=[-1, 2])), "shape is not a list of lengths", id="negative"),
        pytest.param(of(request(shape=[True])), "shape is not a list of lengths", id="boolean"),
        pytest.param(of(request(shape=None)), "shape is not a list of lengths", id="no shape"),
        pytest.param(of(request(shape=[10**18])), "takes 1000000000000000000 values", id="huge"),
        pytest.param(of(request(datatype="FP33")), "'FP33' is not an Open Inference", id="datatype"),
        pytest.param(of(request(data=None)), "has no list of data", id="no data"),
        pytest.param(of(request(data=[1, 2, 3, "x"])), "text among numbers", id="mixed"),
        pytest.param(of(request(data=list("abcd"))), "its data are not FP32", id="text as numbers"),
        pytest.param(of(request(datatype="BYTES")), "its data are not BYTES", id="numbers as text"),
        pytest.param(of(request(data=[[1, 2], [3]])), "input 'a'", id="ragged"),
        pytest.param(of(request(), request()), "input 'a' comes twice", id="twice"),
        pytest.param(of(request(name=3)), "its name is not text", id="name"),
        pytest.param(of(request()) + '{"a": 1}\n', "line 2 is not an inference request", id="then a row"),
        pytest.param(of(request()) + of(request(name="b")), "line 2 has an input 'b'", id="then another input"),
        pytest.param(of(request(), request(name="b")) + of(request()), "line 2 has no input 'b'", id="then fewer"),
    ],
)
def test_a_request_that_is_off_is_named(tmp_path: Path, text: str, fact: str):
    with pytest.raises(InvalidInput, match=fact):
        read(written(tmp_path, text))


numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))


@given(st.lists(st.lists(numbers, min_size=2, max_size=2), min_size=1, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_are_read_to_the_last_bit(tmp_path: Path, values: list[list[float]]):
    batches = read(written(tmp_path, lines(*values)))

    assert [row for batch in batches for row in batch] == values


def test_long_lines_come_in_smaller_batches(tmp_path: Path):
    path = written(tmp_path, lines(*[[0.5] * 1_000_000] * 6))

    assert len(read(path)) > 1
