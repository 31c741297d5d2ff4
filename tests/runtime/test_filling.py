"""Whether filling up pays: from the times of one row and of four."""

from __future__ import annotations

from itertools import accumulate, cycle

import pytest

from mlserve.runtime.filling import gain, is_worth_it
from mlserve.runtime.model import load_model
from tests import models


@pytest.mark.parametrize(("alone_s", "shared_s", "expected"), [(1.0, 4.0, 1.0), (1.0, 1.0, 4.0), (1.0, 2.0, 2.0)])
def test_the_gain_is_how_much_cheaper_a_row_is_in_a_batch(alone_s: float, shared_s: float, expected: float) -> None:
    model = load_model(models.sequence_lengths().SerializeToString(), device="cpu")
    axis = next(dim for spec in model.signature.inputs for dim in spec.dims[1:] if isinstance(dim, str))
    # The clock is read before the row, between the runs, and after the batch.
    times = accumulate(cycle([0.0, alone_s, shared_s]))

    found = gain(model, axis, clock=lambda: next(times))

    assert found == pytest.approx(expected)
    assert is_worth_it(found) == (expected > 1)
