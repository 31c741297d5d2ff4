"""Bytes ⇄ arrays of the binary tensor extension."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
from mlserve.core.tensors import TensorSpec
from mlserve.errors import InvalidInput
from mlserve.serving.oip.blobs import array_of, blob_of, implied_shape


def strings(dims: tuple[Any, ...] = ("n",)) -> TensorSpec:
    return TensorSpec("s", DType.STRING, dims)


@given(st.lists(st.text()))
def test_strings_read_back_as_they_were(texts: list[str]) -> None:
    array = np.empty(len(texts), object)
    array[:] = texts

    blob = blob_of(array, DType.STRING)

    assert array_of(memoryview(blob), strings(), (len(texts),)).tolist() == texts


def test_bytes_objects_are_written_as_they_are() -> None:
    assert blob_of(np.array([b"\xff"], object), DType.STRING) == b"\x01\0\0\0\xff"


@pytest.mark.parametrize(
    ("blob", "said"),
    [
        pytest.param(b"\x01\0\0", "ends inside the length of element 0", id="half a length"),
        pytest.param(b"\x05\0\0\0ab", "only 2 are left", id="cut off"),
        pytest.param(b"\x01\0\0\0\xff", "not UTF-8", id="not UTF-8"),
        pytest.param(b"\0\0\0\0" * 2, "has 2 strings", id="too many"),
        pytest.param(b"", "has 0 strings", id="none"),
        pytest.param(b"\xff\xff\xff\xff", "4294967295 bytes", id="4 GiB"),
    ],
)
def test_strings_that_are_not_whole_are_refused(blob: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        array_of(memoryview(blob), strings(), (1,))


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BOOL, DType.STRING])
@pytest.mark.parametrize("shape", [(0, 1 << 63), (0, 1 << 70), (0, *[1] * 70)], ids=["large", "larger", "70 axes"])
def test_no_bytes_for_a_shape_that_no_array_can_have_are_refused(dtype: DType, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match=f"a shape of {len(shape)} axes that no tensor can have"):
        array_of(memoryview(b""), TensorSpec("x", dtype, ("n", None)), shape)


def test_a_bool_is_whatever_is_not_zero() -> None:
    array = array_of(memoryview(b"\0\x01\xff"), TensorSpec("b", DType.BOOL, ("n",)), (3,))

    assert array.dtype == bool
    assert array.view(np.uint8).tolist() == [0, 1, 1]


def test_an_array_that_is_not_contiguous_is_written_row_by_row() -> None:
    array = np.arange(6, dtype=np.int16).reshape(2, 3).T

    assert bytes(blob_of(array, DType.INT16)) == np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize(
    ("dims", "size", "shape"),
    [
        pytest.param(("batch", 3), 12, (1, 3), id="one row"),
        pytest.param(("batch", None, 3), 24, (1, 2, 3), id="a batch of one, and a length"),
        pytest.param((2, 3), 24, (2, 3), id="all fixed"),
        pytest.param(("batch", 0), 0, (1, 0), id="no elements"),
    ],
)
def test_a_bare_tensor_has_the_one_shape_that_fits(dims: tuple[Any, ...], size: int, shape: tuple[int, ...]) -> None:
    assert implied_shape(TensorSpec("x", DType.FLOAT32, dims), size) == shape
