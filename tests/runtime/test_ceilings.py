"""Ceilings are where loading really ends."""

from __future__ import annotations

import pytest

from mlserve.errors import InvalidInput
from mlserve.runtime.ceilings import KNOWN_IR, KNOWN_OPSET, Ceilings, find_ceilings
from mlserve.runtime.model import load_model
from tests import models


def written(ir: int, opset: int) -> bytes:
    proto = models.classifier()
    proto.ir_version = ir
    proto.opset_import[0].version = opset
    return proto.SerializeToString()


def test_a_model_at_a_ceiling_loads_and_one_above_it_does_not() -> None:
    found = find_ceilings()

    load_model(written(found.ir, KNOWN_OPSET), device="cpu")
    load_model(written(KNOWN_IR, found.opset), device="cpu")
    with pytest.raises(InvalidInput):
        load_model(written(found.ir + 1, KNOWN_OPSET), device="cpu")
    with pytest.raises(InvalidInput):
        load_model(written(KNOWN_IR, found.opset + 1), device="cpu")


def test_what_mlserve_writes_is_below_both() -> None:
    assert find_ceilings().is_enough
    assert not Ceilings(KNOWN_IR - 1, KNOWN_OPSET).is_enough
    assert not Ceilings(KNOWN_IR, KNOWN_OPSET - 1).is_enough
