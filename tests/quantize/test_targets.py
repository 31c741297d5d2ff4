"""What may go where."""

from __future__ import annotations

import pytest

from mlserve.quantize.census import take_census
from mlserve.quantize.methods import QUANTIZERS
from mlserve.quantize.targets import UNSUITED, Target, unsuited
from tests import models


@pytest.mark.parametrize(
    ("method", "target"),
    [("int8", "cuda"), ("int8-dynamic", "cuda"), ("int8-dynamic", "tensorrt"), ("int4-weights", "tensorrt")],
)
def test_a_reason_says_what_suits_the_target_instead(method: str, target: Target) -> None:
    (reason,) = unsuited(method, target)

    assert target in reason
    assert "--to fp16" in reason


@pytest.mark.parametrize("target", list(UNSUITED))
@pytest.mark.parametrize("method", list(QUANTIZERS))
def test_every_method_refuses_what_the_table_refuses(method: str, target: Target) -> None:
    found = QUANTIZERS[method]().objections(take_census(models.classifier()), target)

    assert found == unsuited(method, target)
