"""The values that front ends and engine share."""

from __future__ import annotations

import numpy as np
import pytest

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.serving.seam import Answer, BatchOutputs, ModelState, ModelView

SIGNATURE = Signature(
    (TensorSpec("x", DType.FLOAT32, ("n", 2)),),
    (TensorSpec("y", DType.FLOAT32, ("n", 2)), TensorSpec("label", DType.INT64, ("n",))),
)


def outputs(*, is_sliced: bool = True) -> BatchOutputs:
    view = ModelView("m", "3", ("3",), SIGNATURE, ModelState.READY)
    arrays = {"y": np.arange(6, dtype=np.float32).reshape(3, 2), "label": np.array([7, 8, 9])}
    return BatchOutputs(view, arrays, 3, is_sliced=is_sliced)


def test_an_answer_is_a_row_range_of_its_batch() -> None:
    batch = outputs()
    y, label = Answer(batch, 1, 3).outputs

    assert (y.name, y.shape, y.flat(), y.array().tolist()) == ("y", (2, 2), [2, 3, 4, 5], [[2, 3], [4, 5]])
    assert (label.name, label.shape, label.flat(), label.dtype) == ("label", (2,), [8, 9], DType.INT64)
    assert y.array().base is not None, "a view, not a copy"
    assert (Answer(batch, 0, 1).model, Answer(batch, 0, 1).version) == ("m", "3")


def test_an_answer_of_its_own_is_whole() -> None:
    y, label = Answer(outputs(is_sliced=False), 0, None).outputs

    assert (y.shape, label.shape) == ((3, 2), (3,))
    assert y.flat() == [0, 1, 2, 3, 4, 5]
    assert y.array().shape == (3, 2)


def test_numbers_become_python_values_once_a_batch() -> None:
    batch = outputs()

    assert batch.flat("y") is batch.flat("y")


def test_outputs_come_in_the_order_asked_for() -> None:
    assert [output.name for output in Answer(outputs(), 0, 1, ("label",)).outputs] == ["label"]
    assert [output.name for output in Answer(outputs(), 0, 1, ("label", "y")).outputs] == ["label", "y"]


@pytest.mark.parametrize("dtype", [DType.BFLOAT16, DType.FLOAT16, DType.BOOL, DType.UINT64, DType.STRING])
def test_flat_values_are_pythons_own(dtype: DType) -> None:
    given = {DType.BOOL: [True, False], DType.STRING: ["a", "é"], DType.UINT64: [2**64 - 1, 0]}.get(dtype, [1.5, -2.0])
    batch = BatchOutputs(outputs().view, {"y": np.array(given, dtype.numpy)}, 2, is_sliced=True)

    assert batch.flat("y") == given
    assert {type(value) for value in batch.flat("y")} <= {float, bool, int, str}
