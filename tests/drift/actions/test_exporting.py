"""A window's rows are a data file of the model, whatever came, in pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mlserve.core.digests import digest_file
from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.drift.actions.exporting import export_window
from mlserve.drift.blocks import Block
from mlserve.errors import InvalidInput
from mlserve.rows.reading import open_rows

SIGNATURE = Signature(
    (TensorSpec("x", DType.FLOAT32, ("batch", 2)), TensorSpec("plan", DType.STRING, ("batch",))),
    (TensorSpec("p", DType.FLOAT32, ("batch", 2)),),
)
NAMES = {"x": ("amount", "age")}


def block(start: int, rows: int, seed: int, **changes: object) -> Block:
    random = np.random.default_rng(seed)
    said = {
        "inputs": {
            "x": random.normal(size=(rows, 2)).astype(np.float32),
            "plan": np.array(["a", "b"] * rows, object)[:rows],
        },
        "labels": np.ma.masked_array(np.arange(rows, dtype=float), np.arange(rows) % 2 == 1),
        "times": np.datetime64("2026-03-01", "us") + np.arange(rows),
    }
    return Block(start, rows, **(said | changes))  # type: ignore[arg-type]


def test_a_window_reads_back_as_data_of_the_model(tmp_path: Path) -> None:
    blocks = [block(0, 5, 1), block(5, 3, 2)]
    path = tmp_path / "window.parquet"

    rows, digest = export_window(path, blocks, NAMES)

    assert (rows, digest) == (8, digest_file(path))
    table = pq.read_table(path)
    assert table.column_names == ["x", "plan", "label", "time"]
    assert table["label"].to_pylist() == [0.0, None, 2.0, None, 4.0, 0.0, None, 2.0]
    (batch,) = open_rows(path, SIGNATURE).batches(100)
    np.testing.assert_array_equal(batch.inputs["x"], np.concatenate([one.inputs["x"] for one in blocks]))
    assert batch.inputs["plan"].tolist() == ["a", "b", "a", "b", "a", "a", "b", "a"]


def test_one_input_of_named_features_is_a_column_a_feature(tmp_path: Path) -> None:
    only = Signature(SIGNATURE.inputs[:1], SIGNATURE.outputs)
    rows = np.array([[1.0, 30.0], [2.0, np.nan]], np.float32)
    path = tmp_path / "window.parquet"

    export_window(path, [block(0, 2, 1, inputs={"x": rows})], NAMES)

    assert pq.read_table(path).column_names == ["amount", "age", "label", "time"]
    (batch,) = open_rows(path, only).batches(100)
    np.testing.assert_array_equal(batch.inputs["x"], rows)


def test_equal_rows_are_equal_files(tmp_path: Path) -> None:
    digests = {export_window(tmp_path / name, [block(0, 5, 1)], NAMES)[1] for name in ("a.parquet", "b.parquet")}

    assert len(digests) == 1


def test_labels_may_be_unknown_at_first_and_images_are_lists(tmp_path: Path) -> None:
    images = np.arange(2 * 2 * 3, dtype=np.float32).reshape(2, 2, 3)
    blocks = [
        block(0, 2, 1, inputs={"image": images}, labels=np.array([None, None], object), weights=np.array([1.0, 4.0])),
        block(2, 2, 1, inputs={"image": images}, labels=np.array([1, 0]), weights=np.array([1.0, 1.0])),
    ]
    path = tmp_path / "window.parquet"

    export_window(path, blocks, {})

    table = pq.read_table(path)
    assert table["label"].to_pylist() == [None, None, 1.0, 0.0]
    assert table["weight"].to_pylist() == [1.0, 4.0, 1.0, 1.0]
    assert table["image"].to_pylist()[1] == images[1].tolist()


def test_a_window_without_rows_is_a_file_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "window.parquet"

    assert export_window(path, [], NAMES)[0] == 0
    assert pq.read_table(path).num_rows == 0


def test_a_failure_in_the_middle_leaves_no_file(tmp_path: Path) -> None:
    changed = block(5, 1, 1, inputs={"x": np.array(["text"], object)})

    with pytest.raises(InvalidInput, match="in the middle of the rows"):
        export_window(tmp_path / "window.parquet", [block(0, 5, 1, inputs={"x": np.ones(5)}), changed], {})

    assert list(tmp_path.iterdir()) == []


def test_an_input_of_one_column_is_a_plain_column(tmp_path: Path) -> None:
    signature = Signature((TensorSpec("carrier", DType.STRING, ("batch", 1)),), SIGNATURE.outputs)
    rows = Block(0, 3, {"carrier": np.array([["UA"], ["AA"], ["UA"]], object)})

    export_window(tmp_path / "window.parquet", [rows], {})

    assert pq.read_table(tmp_path / "window.parquet").column("carrier").to_pylist() == ["UA", "AA", "UA"]
    (batch,) = open_rows(tmp_path / "window.parquet", signature).batches(10)
    assert batch.inputs["carrier"].shape == (3, 1)
