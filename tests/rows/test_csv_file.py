"""``.csv`` files: types found row by row, nulls, and files that are not as they should be."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlserve.errors import InvalidInput
from mlserve.rows.csv_file import CsvTable


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "a.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(path: Path, rows: int = 100, text: tuple[str, ...] = ()) -> list[list]:
    return [batch["a"].tolist() for batch in CsvTable(path, text=text).batches(rows)]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        pytest.param("1\n-2", [1, -2], id="whole numbers"),
        pytest.param("1\n2.5", [1.0, 2.5], id="a fraction"),
        pytest.param("1e3\ninf", [1000.0, np.inf], id="exponent and infinity"),
        pytest.param(" 1 \n2 ", [1, 2], id="blanks around"),
        pytest.param("true\nFalse", [True, False], id="booleans"),
        pytest.param("x\n1", ["x", "1"], id="text"),
        pytest.param('"a,b"\n"c\nd"', ["a,b", "c\nd"], id="commas and newlines in quotes"),
        pytest.param('"he said ""hi"""\nÆ', ['he said "hi"', "Æ"], id="quotes in quotes"),
        pytest.param("9223372036854775807\n1", [2**63 - 1, 1], id="the largest integer"),
    ],
)
def test_types(tmp_path: Path, cells: str, values: list):
    assert read(written(tmp_path, f"a\n{cells}\n")) == [values]


@pytest.mark.parametrize("null", ["", "NA", "N/A", "NULL", "null", "None", "nan", "NaN", "<NA>"])
def test_every_spelling_of_null_among_numbers_is_nan(tmp_path: Path, null: str):
    (values,) = read(written(tmp_path, f"a,b\n1,x\n{null},x\n"))

    assert values[0] == 1.0
    assert np.isnan(values[1])


def test_only_the_empty_field_is_null_among_text(tmp_path: Path):
    assert read(written(tmp_path, 'a,b\nx,1\nNA,1\n,1\n"",1\n')) == [["x", "NA", None, ""]]


def test_a_column_of_nothing_is_nan(tmp_path: Path):
    (values,) = read(written(tmp_path, "a,b\n,1\n,2\n"))

    assert np.isnan(values).all()


def test_a_column_that_is_text_keeps_numbers_as_they_are_written(tmp_path: Path):
    assert read(written(tmp_path, "a\n007\n1e3\n"), text=("a",)) == [["007", "1e3"]]


def test_a_fraction_may_come_late(tmp_path: Path):
    assert read(written(tmp_path, "a\n1\n2\n3.5\n"), rows=2) == [[1, 2], [3.5]]


def test_text_stays_text_where_later_rows_look_like_numbers(tmp_path: Path):
    assert read(written(tmp_path, "a\nx\ny\n1\n"), rows=2) == [["x", "y"], ["1"]]


def test_text_after_numbers_is_named_with_its_row(tmp_path: Path):
    with pytest.raises(InvalidInput, match="row 4, column 'a': 'x' is not a number, as the rows before are"):
        read(written(tmp_path, "a\n1\n2\n3\nx\n"), rows=2)


def test_booleans_after_numbers_are_refused_where_they_mix(tmp_path: Path):
    with pytest.raises(InvalidInput, match="from row 3, column 'a' mixes numbers and booleans"):
        read(written(tmp_path, "a\n1\n2\n3.5\ntrue\n"), rows=2)


def test_an_empty_batch_of_a_column_does_not_settle_its_type(tmp_path: Path):
    assert read(written(tmp_path, "a,b\n,1\nx,2\n"), rows=1)[1] == ["x"]


def test_the_byte_order_mark_of_a_spreadsheet_is_not_part_of_a_name(tmp_path: Path):
    assert CsvTable(written(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n")).columns == ("a", "b")


def test_lines_may_end_as_on_windows_or_not_at_all(tmp_path: Path):
    assert read(written(tmp_path, b"a,b\r\n1,2\r\n3,4")) == [[1, 3]]


def test_a_header_alone_has_no_rows(tmp_path: Path):
    assert read(written(tmp_path, "a,b\n")) == []


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        pytest.param(b"a,b\n1,2\n3\n", "Expected 2 columns, got 1", id="a short row"),
        pytest.param(b"a,b\n1,2,3\n", "Expected 2 columns, got 3", id="a long row"),
        pytest.param(b"a,a\n1,2\n", "has two columns 'a'", id="two columns of one name"),
        pytest.param(b"a\n\xff\xfe\n", "not a readable CSV file", id="not UTF-8"),
        pytest.param(b"\n\n\n", "not a readable CSV file", id="blank lines"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_is_named(tmp_path: Path, content: bytes, fact: str):
    with pytest.raises(InvalidInput, match=fact):
        read(written(tmp_path, content))


def test_a_row_without_end_is_refused(tmp_path: Path):
    with pytest.raises(InvalidInput, match="not a readable CSV file"):
        read(written(tmp_path, b'a,b\n"' + b"x" * (10 << 20)))


def test_only_what_is_asked_for_is_given(tmp_path: Path):
    (batch,) = CsvTable(written(tmp_path, "a,b\n1,x\n")).batches(5, only={"b"})

    assert list(batch) == ["b"]


@given(st.lists(st.floats(width=64), min_size=1, max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_floats_are_read_to_the_last_bit(tmp_path: Path, values: list[float]):
    path = written(tmp_path, "a\n" + "".join(f"{value!r}\n" for value in values))

    np.testing.assert_array_equal(np.array(read(path)[0], dtype=float), values)
