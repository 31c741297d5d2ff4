"""Each request's wish beside its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput
from mlserve.serving.generation.intake import GenerationIntake
from mlserve.serving.seam import InferRequest, InputTensor


def request(*texts: str, **parameters: Any) -> InferRequest:
    tensor = InputTensor("text_input", DType.STRING, (len(texts),), list(texts))
    return InferRequest("chat", None, [tensor], parameters=parameters or None)


def test_requests_of_unlike_wishes_share_a_run_and_keep_them() -> None:
    intake = GenerationIntake(is_batchable=True)
    requests = [request("a", "b", max_tokens=3, seed=7), request("c", temperature=0.5)]

    keys = {intake.admit(one)[1] for one in requests}
    arrays = intake.gather(requests)

    assert len(keys) == 1
    assert arrays["text_input"].tolist() == ["a", "b", "c"]
    assert arrays["max_tokens"].tolist() == [3, 3, 16]
    assert arrays["seed"].tolist() == [7, 7, -1]
    assert arrays["temperature"].tolist() == [0.0, 0.0, 0.5]
    assert all(len(array) == 3 for array in arrays.values())
    assert arrays["echoes"].dtype == np.bool_


def test_wishes_that_cannot_be_are_refused_on_arrival() -> None:
    with pytest.raises(InvalidInput, match="max_tokens"):
        GenerationIntake(is_batchable=True).admit(request("a", max_tokens=-1))
