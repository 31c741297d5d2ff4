"""Rows told apart by their inputs, whatever file they are read from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlserve.core.tensors import Signature
from mlserve.errors import InvalidInput
from mlserve.graph.signature import read_signature
from mlserve.quantize.calibration import Calibration
from mlserve.quantize.holding_out import hold_out, row_digests
from mlserve.rows.reading import RowBatch, open_rows
from tests import models


def signature(fixed_rows: int | None = None) -> Signature:
    return read_signature(models.fixed_shape(fixed_rows, 4) if fixed_rows else models.classifier(4))


def test_the_same_row_in_another_kind_of_file_is_the_same_row() -> None:
    values = np.random.default_rng(0).integers(-9, 9, (50, 4)).astype(np.float32)
    np.savez("a.npz", x=values)
    np.savetxt("b.csv", np.concatenate([values[:5], values[10:] + 100]), "%d", ",", header="a,b,c,d", comments="")

    calibration = Calibration(open_rows(Path("a.npz"), signature()))

    assert hold_out(open_rows(Path("b.csv"), signature()), calibration).dropped == 5


@pytest.mark.parametrize("text", [["a", "bc"], ["ab", "c"]])
def test_words_are_told_apart_wherever_they_are_cut(text: list[str]) -> None:
    one, other = (RowBatch(0, {"t": np.array([words], object)}, {}) for words in (text, ["abc", ""]))

    assert row_digests(one) != row_digests(other)


def test_only_rows_that_were_really_calibrated_on_are_left_out() -> None:
    np.savez("a.npz", x=np.arange(400, dtype=np.float32).reshape(100, 4))
    rows = open_rows(Path("a.npz"), signature())

    kept = hold_out(rows, Calibration(rows, max_rows=10))

    assert kept.dropped == 10
    assert sum(batch.rows for batch in kept.batches(32)) == 90


def test_a_model_of_fixed_calls_loses_the_whole_call() -> None:
    values = np.arange(400, dtype=np.float32).reshape(100, 4)
    np.savez("a.npz", x=values[:2])
    np.savez("b.npz", x=values)

    kept = hold_out(
        open_rows(Path("b.npz"), signature(5)), Calibration(open_rows(Path("a.npz"), signature()), max_rows=10)
    )

    assert kept.dropped == 5
    assert [batch.rows for batch in kept.batches(32)] == [5] * 19


def test_a_fifth_may_be_shared_and_no_more() -> None:
    values = np.arange(400, dtype=np.float32).reshape(100, 4)
    np.savez("b.npz", x=values)
    for count in (20, 21):
        np.savez(f"{count}.npz", x=values[:count])
    rows = open_rows(Path("b.npz"), signature())

    assert hold_out(rows, Calibration(open_rows(Path("20.npz"), signature()))).dropped == 20
    with pytest.raises(InvalidInput, match="more than 20%"):
        hold_out(rows, Calibration(open_rows(Path("21.npz"), signature())))
