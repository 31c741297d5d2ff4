"""One reader for all forms: what is read is the same whatever it was written as."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlserve.core.digests import digest_file
from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import InvalidInput, NotFound
from mlserve.graph.signature import read_signature
from mlserve.rows.reading import Roles, open_rows, open_table
from tests import models
from tests.rows.files import COLUMN_FORMS, FORMS, write

TABULAR = read_signature(models.classifier())
MIXED = read_signature(models.mixed_columns())
X = np.random.default_rng(0).normal(size=(25, 4))


def signature_of(*specs: tuple[str, DType, tuple]) -> Signature:
    return Signature(tuple(TensorSpec(*spec) for spec in specs), ())


@pytest.mark.parametrize("form", [form for form in FORMS if form != "csv"])
def test_one_array_per_input_is_read_from_every_form(tmp_path: Path, form: str):
    labels = np.arange(25)

    batch = open_rows(write(tmp_path, form, {"x": X, "label": labels}), TABULAR).read()

    np.testing.assert_array_equal(batch.inputs["x"], X.astype(np.float32))
    np.testing.assert_array_equal(batch.roles["label"], labels)
    assert batch.inputs["x"].dtype == np.float32


@pytest.mark.parametrize("form", COLUMN_FORMS)
def test_a_column_per_feature_is_read_in_the_order_of_the_file(tmp_path: Path, form: str):
    columns = {f"f{i}": X[:, i] for i in (2, 0, 3, 1)} | {"label": np.arange(25)}

    batch = open_rows(write(tmp_path, form, columns), TABULAR).read()

    np.testing.assert_array_equal(batch.inputs["x"], X[:, (2, 0, 3, 1)].astype(np.float32))
    assert list(batch.roles) == ["label"]


@pytest.mark.parametrize("form", FORMS)
def test_a_plain_column_feeds_an_input_of_one_column(tmp_path: Path, form: str):
    columns = {"age": [1.5, 2.5], "visits": [3, 4], "city": np.array(["Oslo", "007"], object)}
    if "request" in form or form == "npz":
        columns = {name: np.asarray(values)[:, None] for name, values in columns.items()}

    batch = open_rows(write(tmp_path, form, columns), MIXED).read()

    assert {name: array.tolist() for name, array in batch.inputs.items()} == {
        "age": [[1.5], [2.5]],
        "visits": [[3], [4]],
        "city": [["Oslo"], ["007"]],
    }
    assert batch.inputs["visits"].dtype == np.int64


@pytest.mark.parametrize("form", FORMS)
@given(rows=st.integers(1, 12), count=st.integers(1, 30))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_batches_hold_the_rows_in_order_and_only_the_last_is_short(tmp_path: Path, form: str, rows: int, count: int):
    columns = {"v": np.arange(count), "label": np.arange(count) * 10}
    opened = open_rows(write(tmp_path, form, columns), signature_of(("v", DType.INT64, ("batch",))))

    batches = list(opened.batches(rows))

    assert [batch.rows for batch in batches] == [rows] * (count // rows) + [count % rows] * (count % rows > 0)
    assert [batch.start for batch in batches] == list(range(0, count, rows))
    assert np.concatenate([batch.inputs["v"] for batch in batches]).tolist() == list(range(count))
    assert np.concatenate([batch.roles["label"] for batch in batches]).tolist() == list(range(0, count * 10, 10))


@pytest.mark.parametrize("form", FORMS)
def test_a_limit_reads_the_first_rows_only(tmp_path: Path, form: str):
    rows = open_rows(write(tmp_path, form, {"v": np.arange(10)}), signature_of(("v", DType.INT64, ("batch",))))

    assert rows.read(3).inputs["v"].tolist() == [0, 1, 2]
    assert rows.read(99).rows == 10
    assert rows.read(0).rows == 0


@pytest.mark.parametrize("form", ["npz", "parquet", "json"])
def test_some_forms_know_how_many_rows_they_have(tmp_path: Path, form: str):
    assert open_rows(write(tmp_path, form, {"x": X}), TABULAR).total_rows == 25


@pytest.mark.parametrize("form", ["jsonl", "request.json", "csv"])
def test_the_other_forms_would_have_to_count(tmp_path: Path, form: str):
    columns = {f"f{i}": X[:, i] for i in range(4)} if form == "csv" else {"x": X}

    assert open_rows(write(tmp_path, form, columns), TABULAR).total_rows is None


def test_the_digest_is_that_of_the_file(tmp_path: Path):
    path = write(tmp_path, "npz", {"x": X})

    assert open_rows(path, TABULAR).digest == digest_file(path)


@pytest.mark.parametrize("form", ["npz", "parquet", "csv", "json"])
def test_no_rows_are_no_error(tmp_path: Path, form: str):
    path = write(tmp_path, form, {"x": np.zeros((0, 4)) if form == "npz" else np.zeros(0)})
    signature = TABULAR if form == "npz" else signature_of(("x", DType.FLOAT32, ("batch",)))

    rows = open_rows(path, signature)

    assert list(rows.batches()) == []
    assert rows.read().inputs["x"].shape == (0, *signature.inputs[0].dims[1:])
    assert rows.read().inputs["x"].dtype == np.float32


ROLES = {"label": [1, 0], "group": [7, 7], "key": np.array(["ada", "bob"], object), "time": [10, 20]}


@pytest.mark.parametrize("form", FORMS)
def test_roles_come_beside_the_inputs_and_are_never_fed(tmp_path: Path, form: str):
    batch = open_rows(
        write(tmp_path, form, {"x": X[:2]} | ROLES) if form != "csv" else features_with_roles(tmp_path), TABULAR
    ).read()

    assert list(batch.inputs) == ["x"]
    assert {role: values.tolist() for role, values in batch.roles.items()} == {
        "label": [1, 0],
        "group": [7, 7],
        "key": ["ada", "bob"],
        "time": [10, 20],
    }


def features_with_roles(folder: Path) -> Path:
    return write(folder, "csv", {f"f{i}": X[:2, i] for i in range(4)} | ROLES)


def test_a_role_can_have_another_column(tmp_path: Path):
    path = write(tmp_path, "npz", {"x": X[:2], "target": [1, 0]})

    assert open_rows(path, TABULAR, roles=Roles(label="target")).read().roles["label"].tolist() == [1, 0]


def test_a_role_that_was_asked_for_must_be_there(tmp_path: Path):
    path = write(tmp_path, "npz", {"x": X, "target": X})

    with pytest.raises(InvalidInput, match="has no column 'taget' for the label") as caught:
        open_rows(path, TABULAR, roles=Roles(label="taget"))

    assert caught.value.hint == "did you mean 'target'?"


def test_an_input_with_the_name_of_a_role_says_how_to_free_it(tmp_path: Path):
    signature = signature_of(("time", DType.FLOAT32, ("batch",)), ("x", DType.FLOAT32, ("batch",)))
    path = write(tmp_path, "npz", {"time": X[:, 0], "x": X[:, 1]})

    with pytest.raises(InvalidInput, match="has no column for input 'time'") as caught:
        open_rows(path, signature)

    assert "--time NAME" in str(caught.value.hint)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "csv"])
def test_an_unknown_column_is_an_error_unless_extras_are_ignored(tmp_path: Path, form: str):
    path = write(tmp_path, form, {"x": X, "colour": np.arange(25)})

    with pytest.raises(InvalidInput, match="has column 'colour', which the model does not take") as caught:
        open_rows(path, TABULAR)

    assert "--ignore-extra" in str(caught.value.hint)
    assert list(open_rows(path, TABULAR, ignore_extra=True).read().inputs) == ["x"]


@pytest.mark.parametrize("form", FORMS)
def test_a_missing_column_is_an_error_even_if_extras_are_ignored(tmp_path: Path, form: str):
    path = write(tmp_path, form, {"age": [1.0], "visit": [1], "city": np.array(["a"], object)})

    with pytest.raises(InvalidInput, match="has no column for input 'visits'") as caught:
        open_rows(path, MIXED, ignore_extra=True)

    assert caught.value.hint == "did you mean 'visit'?"


@pytest.mark.parametrize("width", [3, 5])
def test_another_number_of_features_is_named(tmp_path: Path, width: int):
    path = write(tmp_path, "csv", {f"f{i}": [1.0] for i in range(width)})

    with pytest.raises(InvalidInput, match=f"has {width} columns besides labels and keys.*'x' takes 4 features"):
        open_rows(path, TABULAR)


def test_text_among_features_is_left_out_where_extras_are_ignored(tmp_path: Path):
    columns = {"name": np.array(["ada", "bob"], object)} | {f"f{i}": X[:2, i] for i in range(4)}

    batch = open_rows(write(tmp_path, "csv", columns), TABULAR, ignore_extra=True).read()

    np.testing.assert_array_equal(batch.inputs["x"], X[:2].astype(np.float32))


def test_which_of_several_numbers_is_no_feature_is_not_guessed(tmp_path: Path):
    path = write(tmp_path, "csv", {"id": [1, 2]} | {f"f{i}": X[:2, i] for i in range(4)})

    with pytest.raises(InvalidInput, match="has 5 columns"):
        open_rows(path, TABULAR, ignore_extra=True)


def test_features_of_a_model_with_a_free_width_are_all_columns(tmp_path: Path):
    path = write(tmp_path, "csv", {"a": [1], "b": [2], "label": [0]})

    assert open_rows(path, signature_of(("x", DType.INT32, ("batch", None)))).read().inputs["x"].tolist() == [[1, 2]]


def test_a_file_of_labels_alone_has_no_features(tmp_path: Path):
    path = write(tmp_path, "csv", {"label": [0]})

    with pytest.raises(InvalidInput, match="takes at least one feature"):
        open_rows(path, signature_of(("x", DType.INT32, ("batch", None))))


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_list_is_no_feature(tmp_path: Path, form: str):
    path = write(tmp_path, form, {"a": X[:2], "b": [1, 2], "c": [1, 2], "d": [1, 2]})

    with pytest.raises(InvalidInput, match="column 'a' holds lists"):
        open_rows(path, TABULAR).read()


@pytest.mark.parametrize("form", [form for form in FORMS if form != "csv"])
def test_rows_of_another_width_are_named(tmp_path: Path, form: str):
    with pytest.raises(InvalidInput, match=r"row 1 of .*column 'x' is \[3\], the model takes \[4\]"):
        open_rows(write(tmp_path, form, {"x": X[:, :3]}), TABULAR).read()


@pytest.mark.parametrize("form", ["parquet", "jsonl", "json", "requests.jsonl"])
def test_rows_of_different_lengths_come_in_batches_of_one_length(tmp_path: Path, form: str):
    lengths = [2, 2, 3, 3, 3, 2]
    rows = [list(range(length)) for length in lengths]
    path = ragged_file(tmp_path, form, rows)
    opened = open_rows(path, signature_of(("ids", DType.INT64, ("batch", "seq"))))

    batches = list(opened.batches(2))

    assert [batch.inputs["ids"].shape for batch in batches] == [(2, 2), (2, 3), (1, 3), (1, 2)]
    assert [batch.start for batch in batches] == [0, 2, 4, 5]
    with pytest.raises(InvalidInput, match="row 3 has another shape than the rows before it"):
        opened.read()


def ragged_file(folder: Path, form: str, rows: list[list[int]]) -> Path:
    path = folder / f"data.{form}"
    if form == "parquet":
        pq.write_table(pa.table({"ids": pa.array(rows)}), path)
    elif form == "json":
        path.write_text(json.dumps([{"ids": row} for row in rows]))
    elif form == "jsonl":
        path.write_text("".join(json.dumps({"ids": row}) + "\n" for row in rows))
    else:
        tensors = [{"name": "ids", "shape": [1, len(row)], "datatype": "INT64", "data": row} for row in rows]
        path.write_text("".join(json.dumps({"inputs": [tensor]}) + "\n" for tensor in tensors))
    return path


def test_a_model_of_a_fixed_batch_gets_exactly_that(tmp_path: Path):
    path = write(tmp_path, "npz", {"x": X[:24]})
    rows = open_rows(path, read_signature(models.fixed_shape(8, 4)))

    assert [batch.inputs["x"].shape for batch in rows.batches(5)] == [(8, 4)] * 3
    assert rows.read(10).rows == 16


def test_rows_left_over_from_a_fixed_batch_are_an_error(tmp_path: Path):
    rows = open_rows(write(tmp_path, "npz", {"x": X}), read_signature(models.fixed_shape(8, 4)))

    with pytest.raises(InvalidInput, match="leaves 1 rows over: the model takes exactly 8 in each call"):
        list(rows.batches())


@pytest.mark.parametrize("form", FORMS)
def test_each_row_of_a_scalar_model_is_a_call_of_its_own(tmp_path: Path, form: str):
    path = write(tmp_path, form, {"x": [1.0, 1.0, 2.0], "label": [0, 1, 2]})

    batches = list(open_rows(path, read_signature(models.scalar())).batches())

    assert [batch.inputs["x"].shape for batch in batches] == [()] * 3
    assert [batch.inputs["x"].item() for batch in batches] == [1.0, 1.0, 2.0]
    assert [batch.roles["label"].tolist() for batch in batches] == [[0], [1], [2]]
    assert [batch.start for batch in batches] == [0, 1, 2]


WITH_THRESHOLD = signature_of(("x", DType.FLOAT32, ("batch", 4)), ("threshold", DType.FLOAT32, ()))


def test_an_input_without_rows_divides_the_batches_where_it_changes(tmp_path: Path):
    path = write(tmp_path, "npz", {"x": X[:5], "threshold": [0.5, 0.5, 0.25, 0.25, 0.25]})

    batches = list(open_rows(path, WITH_THRESHOLD).batches())

    assert [(batch.rows, batch.inputs["threshold"].item()) for batch in batches] == [(2, 0.5), (3, 0.25)]


@pytest.mark.parametrize("form", ["npz", "request.json"])
def test_an_input_without_rows_may_be_given_once(tmp_path: Path, form: str):
    path = write(tmp_path, form, {"x": X[:5], "threshold": np.array(0.5)})

    batches = list(open_rows(path, WITH_THRESHOLD).batches(2))

    assert [(batch.rows, batch.inputs["threshold"].item()) for batch in batches] == [(2, 0.5), (2, 0.5), (1, 0.5)]


GRAPH = signature_of(("nodes", DType.FLOAT32, ("n", 2)), ("edges", DType.INT64, (2, "e")))


@pytest.mark.parametrize("form", ["npz", "request.json"])
def test_a_call_whose_tensors_are_not_rows_comes_as_it_stands(tmp_path: Path, form: str):
    path = write(tmp_path, form, {"nodes": np.ones((5, 2)), "edges": np.zeros((2, 9), int)})

    (batch,) = open_rows(path, GRAPH).batches(1)

    assert {name: array.shape for name, array in batch.inputs.items()} == {"nodes": (5, 2), "edges": (2, 9)}
    assert (batch.rows, batch.has_rows) == (1, False)
    assert batch.first(0) is batch


@pytest.mark.parametrize("form", ["npz", "request.json"])
def test_arrays_of_different_lengths_that_are_no_call_either_are_named(tmp_path: Path, form: str):
    path = write(tmp_path, form, {"nodes": np.ones((5, 2)), "edges": np.zeros((3, 9), int)})

    with pytest.raises(InvalidInput, match=r"column 'edges' is \[3, 9\], which is neither as long as the others"):
        list(open_rows(path, GRAPH).batches())


def test_an_array_without_rows_does_not_feed_an_input_with_rows(tmp_path: Path):
    with pytest.raises(InvalidInput, match=r"column 'x' is \[\]"):
        open_rows(
            write_scalar(tmp_path), signature_of(("x", DType.FLOAT32, ("batch",)), ("y", DType.FLOAT32, ()))
        ).read()


def write_scalar(folder: Path) -> Path:
    np.savez(folder / "s.npz", x=np.array(1.0), y=np.array(1.0))
    return folder / "s.npz"


@pytest.mark.parametrize("name", ["data.txt", "data", "data.npy", "data.pkl"])
def test_an_unknown_suffix_names_the_known_ones(tmp_path: Path, name: str):
    (tmp_path / name).write_text("x")

    with pytest.raises(InvalidInput, match=r"not data|no suffix") as caught:
        open_table(tmp_path / name)

    assert caught.value.hint == "one of .npz, .parquet, .csv, .jsonl, .json, or a capture's folder"


@pytest.mark.parametrize("suffix", [".npz", ".parquet", ".csv", ".jsonl", ".json"])
def test_a_missing_empty_or_wrong_kind_of_file_is_named(tmp_path: Path, suffix: str):
    with pytest.raises(NotFound, match="no file"):
        open_table(tmp_path / f"absent{suffix}")

    (tmp_path / f"empty{suffix}").touch()
    with pytest.raises(InvalidInput, match="is empty"):
        open_table(tmp_path / f"empty{suffix}")

    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(InvalidInput, match="is not a file"):
        open_table(tmp_path / f"folder{suffix}")


def test_the_suffix_may_be_in_capitals(tmp_path: Path):
    path = write(tmp_path, "csv", {"a": [1]}).rename(tmp_path / "DATA.CSV")

    assert open_table(path).columns == ("a",)
