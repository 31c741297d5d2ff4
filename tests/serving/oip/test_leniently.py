"""Lists of values that are looked at together are judged, and read, as each of them is alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput
from mlserve.serving.oip.leniently import _element, flatten
from mlserve.serving.oip.plans import plan_of
from tests.serving.fakes import echo

DTYPES = [
    DType.FLOAT32, DType.FLOAT64, DType.FLOAT16, DType.BFLOAT16, DType.BOOL, DType.STRING, DType.INT8, DType.INT64,
    DType.UINT8, DType.UINT64,
]  # fmt: skip
BOUNDS = [-129, -128, 127, 128, 255, 256, -(1 << 63) - 1, -(1 << 63), (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64]

floats, whole = st.floats(), st.integers(-3, 3) | st.sampled_from([*BOUNDS, 1 << 1023, 1 << 1024, -(1 << 1024)])
texts = st.text(max_size=3) | st.sampled_from(["\ud83d", "\ude00"])
alike = st.one_of(*(st.lists(kind, max_size=5) for kind in (floats, whole, texts, st.booleans(), floats | whole)))
unlike = st.lists(floats | whole | texts | st.booleans() | st.none() | st.just({}), max_size=4)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(values=alike | unlike)
def test_values_together_are_read_as_each_alone(dtype: DType, values: list[Any]) -> None:
    plan = plan_of(echo(dtype).view).inputs["x"]

    expected, said = judged(lambda: [_element(value, index, plan) for index, value in enumerate(values)])
    found, said_together = judged(lambda: flatten(values, [len(values)], plan))

    assert said == said_together
    assert list(map(type, found)) == list(map(type, expected))
    np.testing.assert_array_equal(found, expected)


def judged(read: Callable[[], list[Any]]) -> tuple[list[Any], str]:
    """What is read, or nothing and why not."""
    try:
        return read(), ""
    except InvalidInput as error:
        return [], error.message


def test_the_first_that_does_not_fit_is_named() -> None:
    plan = plan_of(echo(DType.INT8).view).inputs["x"]

    with pytest.raises(InvalidInput, match="element 2 of input 'x' is 300"):
        flatten([1, 2, 300, "a"], [4], plan)
