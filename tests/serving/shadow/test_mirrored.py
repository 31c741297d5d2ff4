"""A run comes out of a frame as it went in, whatever its tensors are; a share of it is the rows of those requests."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.serving.shadow.mirrored import chosen, frame_of, mirrored_in
from mlserve.serving.shadow.ring import ALIGNMENT
from mlserve.traffic.recorded import Recorded, Source

ARRAYS = {
    DType.FLOAT32: np.array([[1.5, np.nan], [-0.0, np.inf], [2.0, 3.0]], np.float32),
    DType.INT64: np.array([[1], [2], [-3]], np.int64),
    DType.BOOL: np.array([True, False, True]),
    DType.STRING: np.array([["a", "é"], ["", "日本"], ["x", "y"]], object),
    DType.BFLOAT16: np.array([[1.0], [2.5], [-1.0]], ml_dtypes.bfloat16),
    DType.FLOAT16: np.array([[1.0], [2.5], [-1.0]], np.float16),
    DType.UINT8: np.zeros((3, 0), np.uint8),
}


def recorded(**more: Any) -> Recorded:
    specs = tuple(TensorSpec(f"t {name.value}", name, ("N", *array.shape[1:])) for name, array in ARRAYS.items())
    named = {f"t {name.value}": array for name, array in ARRAYS.items()}
    source = Source("m", 2, "sha256:x", Signature(specs, specs[:1]))
    given = {
        "ids": [b"a", b"\xff"],
        "arrived_s": [1.0, 2.0],
        "status": 200,
        "inputs": named,
        "outputs": dict(list(named.items())[:1]),
        "is_sliced": True,
        "epoch_s": 1e9,
        "rows": [2, 1],
        "unit_keys": ["k", None],
        "asked": [None, ("t float32",)],
        "first_rows": [0, 7],
        "compute_s": 0.25,
    }
    return Recorded(source=source, **{**given, **more})


def whole(frame: list[bytes | memoryview]) -> bytes:
    """As a ring gives it back."""
    return b"".join(bytes(part) + bytes(-len(part) % ALIGNMENT) for part in frame)


def test_every_type_comes_out_bit_for_bit() -> None:
    found = mirrored_in(whole(frame_of(recorded())))

    for kind, array in ARRAYS.items():
        got = found.inputs[f"t {kind.value}"]
        assert (got.dtype, got.shape) == (array.dtype, array.shape)
        assert got.tolist() == array.tolist() if kind is DType.STRING else got.tobytes() == array.tobytes()
    assert found.outputs.keys() == {"t float32"}
    assert found.head.rows == [2, 1]
    assert found.head.unit_keys == ["k", None]
    assert found.head.asked == [None, ("t float32",)]
    assert found.request_ids == ["a", "�"]
    assert found.head.compute_s == 0.25


def test_an_array_that_is_no_piece_of_memory_is_written_as_its_values() -> None:
    strided = np.arange(12, dtype=np.float32).reshape(6, 2)[::2]

    found = mirrored_in(whole(frame_of(recorded(outputs={"t float32": strided}))))

    assert found.outputs["t float32"].tolist() == strided.tolist()


@pytest.mark.parametrize(
    ("keep", "ids", "rows"),
    [
        pytest.param([True, True], [b"a", b"\xff"], [2, 1], id="all"),
        pytest.param([True, False], [b"a"], [2], id="first"),
        pytest.param([False, True], [b"\xff"], [1], id="second"),
    ],
)
def test_chosen_requests_keep_their_rows(keep: list[bool], ids: list[bytes], rows: list[int]) -> None:
    part = chosen(recorded(), keep)

    assert part is not None
    assert (part.ids, part.rows) == (ids, rows)
    mask = np.repeat(keep, [2, 1])
    for kind, array in ARRAYS.items():
        assert (part.inputs or {})[f"t {kind.value}"].tolist() == array[mask].tolist() or kind is DType.FLOAT32
    assert len((part.outputs or {})["t float32"]) == sum(rows)


def test_none_chosen_is_nothing() -> None:
    assert chosen(recorded(), [False, False]) is None


def test_a_request_of_a_run_stands_alone_with_its_rows() -> None:
    one = mirrored_in(whole(frame_of(recorded()))).alone(1)

    assert one.head.ids == [b"\xff"]
    assert one.head.first_rows == [7]
    assert one.inputs["t int64"].tolist() == [[-3]]
    assert one.outputs["t float32"].tolist() == [[2.0, 3.0]]
