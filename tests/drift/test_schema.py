"""What is watched: guessed from signature and rows, or said in a schema file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.drift.columns import columns_of, split, stack
from mlserve.drift.said import Said, SaidFeature, SaidInput, read_said
from mlserve.drift.schema import DriftSchema, Feature, Kind, derive_schema
from mlserve.errors import InvalidConfig, InvalidInput, NotFound

GIVES = (TensorSpec("p", DType.FLOAT32, ("batch",)),)
TABLE = Signature((TensorSpec("x", DType.FLOAT32, ("batch", 3)),), GIVES)
MIXED = Signature(
    (
        TensorSpec("amount", DType.FLOAT64, ("batch",)),
        TensorSpec("plan", DType.STRING, ("batch", 1)),
        TensorSpec("comment", DType.STRING, ("batch",)),
        TensorSpec("image", DType.UINT8, ("batch", 3, 12, 16)),
        TensorSpec("tokens", DType.INT64, ("batch", "length")),
    ),
    GIVES,
)


def table_rows(rows: int = 400) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    columns = [random.normal(size=rows), random.integers(0, 4, rows), random.normal(size=rows)]
    return {"x": np.stack(columns, axis=1).astype(np.float32)}


def mixed_rows(rows: int = 200) -> dict[str, np.ndarray]:
    random = np.random.default_rng(2)
    return {
        "amount": random.normal(size=rows),
        "plan": np.array([[("basic", "plus", None)[i % 3]] for i in range(rows)], object),
        "comment": np.array([f"comment number {i} é" for i in range(rows)], object),
        "image": random.integers(0, 255, (rows, 3, 12, 16)).astype(np.uint8),
        "tokens": random.integers(0, 30000, (rows, 7)),
    }


def test_columns_of_a_2d_input_are_features_named_by_their_place() -> None:
    schema = derive_schema(TABLE, table_rows())

    assert [feature.name for feature in schema.features] == ["x[0]", "x[1]", "x[2]"]
    assert [feature.kind for feature in schema.features] == [Kind.NUMERIC, Kind.CATEGORICAL, Kind.NUMERIC]
    assert schema.names == {"x": ("x[0]", "x[1]", "x[2]")}


def test_names_that_are_said_win_over_those_of_the_reference() -> None:
    said = Said(inputs={"x": SaidInput(names=("amount", "plan", "age"))})

    schema = derive_schema(TABLE, table_rows(), names={"x": ("a", "b", "c")}, said=said)

    assert [feature.name for feature in schema.features] == ["amount", "plan", "age"]


def test_every_kind_of_input_is_known_by_its_type_shape_and_values() -> None:
    schema = derive_schema(MIXED, mixed_rows())

    assert {feature.name: feature.kind.value for feature in schema.features} == {
        "amount": "numeric",
        "plan": "categorical",
        "comment": "text",
        "image": "image",
        "tokens": "tensor",
    }


def test_a_schema_comes_back_from_its_dict() -> None:
    said = Said(label="y", score="p", features={"amount": SaidFeature(low=0.0, nullable=False, importance=0.5)})
    schema = derive_schema(MIXED, mixed_rows(), said=said)

    assert DriftSchema.from_dict(schema.to_dict()) == schema
    assert schema.feature("amount").low == 0.0


def test_what_is_ignored_is_not_watched() -> None:
    schema = derive_schema(TABLE, table_rows(), said=Said(ignore=("x[1]",)))

    assert [feature.name for feature in schema.features] == ["x[0]", "x[2]"]
    assert [feature.name for feature in schema.ignored] == ["x[1]"]
    assert schema.names == {"x": ("x[0]", "x[1]", "x[2]")}


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        pytest.param(Said(features={"x[7]": SaidFeature()}), "feature 'x\\[7\\]'", id="unknown feature"),
        pytest.param(Said(inputs={"z": SaidInput()}), "input 'z'", id="unknown input"),
        pytest.param(Said(inputs={"x": SaidInput(names=("a",))}), "3 columns, and 1 names", id="too few names"),
        pytest.param(Said(features={"x[0]": SaidFeature(kind="text")}), "one number a row", id="numbers as text"),
        pytest.param(Said(ignore=("x[0]", "x[1]", "x[2]")), "no feature to watch", id="nothing left"),
    ],
)
def test_what_does_not_fit_the_signature_is_named(said: Said, complaint: str) -> None:
    with pytest.raises(InvalidConfig, match=complaint):
        derive_schema(TABLE, table_rows(), said=said)


def test_two_features_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidInput, match="two features would be called 'a'"):
        derive_schema(TABLE, table_rows(), names={"x": ("a", "a", "b")})


def test_the_names_of_predictions_are_taken() -> None:
    with pytest.raises(InvalidInput, match="is what a column of predictions is called"):
        derive_schema(TABLE, table_rows(), names={"x": ("a", "prediction.score", "b")})


def test_rows_split_into_columns_stack_to_the_same_rows() -> None:
    rows = table_rows()
    schema = derive_schema(TABLE, rows)

    columns = split(schema, rows)

    np.testing.assert_array_equal(stack(schema, columns, "x"), rows["x"])


def test_every_column_that_is_announced_comes() -> None:
    rows = mixed_rows()
    schema = derive_schema(MIXED, rows)

    columns = split(schema, rows)

    assert list(columns) == [column.name for column in columns_of(schema)]
    assert all(len(values) == 200 for values in columns.values())
    assert columns["comment.length"][3] == len("comment number 3 é")
    assert columns["comment.words"][3] == 4
    assert columns["image.aspect"][0] == pytest.approx(16 / 12)
    assert columns["image.brightness"] == pytest.approx(rows["image"].reshape(200, -1).mean(axis=1))
    assert columns["tokens.norm"] == pytest.approx(np.linalg.norm(rows["tokens"], axis=1))


def test_inputs_that_are_missing_have_no_columns() -> None:
    schema = derive_schema(MIXED, mixed_rows())
    rows = mixed_rows(5)
    del rows["amount"]

    assert "amount" not in split(schema, rows)


def test_channels_are_found_on_either_side() -> None:
    feature = Feature("i", Kind.IMAGE, "i", None, DType.FLOAT32)
    signature = Signature((TensorSpec("i", DType.FLOAT32, ("batch", 10, 12, 3)),), GIVES)
    image = np.random.default_rng(3).normal(size=(4, 10, 12, 3)).astype(np.float32)

    first, last = (split(DriftSchema((feature,)), {"i": array}) for array in (image.transpose(0, 3, 1, 2), image))

    assert derive_schema(signature, {"i": image}).features == (feature,)
    for name, values in first.items():
        # The grey values are float32 sums of three in two orders.
        assert values == pytest.approx(last[name], rel=1e-5)


def test_a_schema_file_says_what_is_watched(tmp_path: Path) -> None:
    file = tmp_path / "schema.toml"
    file.write_text(
        'label = "churned"\nignore = ["row"]\n[inputs.x]\nnames = ["amount", "row", "plan"]\n'
        '[features.plan]\nkind = "categorical"\ncategories = [1, 2]\n'
    )

    said = read_said(file)
    schema = derive_schema(TABLE, table_rows(), said=said)

    assert schema.label == "churned"
    assert schema.feature("plan").categories == ("1", "2")
    assert schema.feature("plan").kind is Kind.CATEGORICAL


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("label = [", "not TOML", id="no TOML"),
        pytest.param("lable = 'y'", "lable", id="unknown word"),
        pytest.param("[features.a]\nkind = 'number'", "features", id="unknown kind"),
        pytest.param("[features.a]\nlow = 2.0\nhigh = 1.0", "low 2.0 above high 1.0", id="empty range"),
    ],
)
def test_a_schema_file_that_cannot_be_used_names_the_place(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "schema.toml"
    file.write_text(text)

    with pytest.raises(InvalidConfig, match=complaint):
        read_said(file)


def test_a_schema_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_said(tmp_path / "none.toml")
