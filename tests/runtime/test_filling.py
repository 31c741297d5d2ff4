"""Rows are filled up only where it pays, by what was measured, or where that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from mlserve.core.settings import Buckets
from mlserve.core.tensors import Signature
from mlserve.errors import InvalidInput
from mlserve.runtime.filling import LENGTHS, MIN_GAIN, LengthCost, decide_filling, gain_of, measure_lengths
from mlserve.runtime.padding import Padding, prove_padding
from tests.runtime.test_padding import masked_sum

PROVEN = Padding("close", "filled up equals alone in the probe", "seq", "attention_mask", 1e-7, {})
REFUSED = Padding("none", "no input is a mask", "", "", -1.0, {})


@pytest.mark.parametrize(
    ("asked", "padding", "gain", "is_used", "shown"),
    [
        pytest.param("auto", PROVEN, MIN_GAIN, True, "close", id="auto, and it pays"),
        pytest.param("auto", PROVEN, 1.1, False, "off: a row is 1.10 times", id="auto, and it hardly pays"),
        pytest.param("auto", PROVEN, None, False, "off: what it would gain", id="auto, and nobody knows"),
        pytest.param("auto", REFUSED, 9.0, False, "refused: no input is a mask", id="auto, not proven"),
        pytest.param("on", PROVEN, None, True, "close", id="on"),
        pytest.param("on", PROVEN, 0.5, True, "close", id="on at a loss"),
        pytest.param("on", REFUSED, None, False, "refused: no input is a mask", id="on, not proven"),
        pytest.param("off", PROVEN, 9.0, False, "off", id="off"),
        pytest.param("on", None, None, False, "", id="nothing to fill up"),
    ],
)
def test_the_decision_follows_setting_proof_and_gain(
    asked: Buckets, padding: Padding | None, gain: float | None, is_used: bool, shown: str
) -> None:
    filling = decide_filling(asked, padding, gain)

    assert filling.is_used is is_used
    assert filling.shown.startswith(shown)
    assert bool(filling.shown) is bool(shown)


def test_a_cost_that_grows_with_the_tokens_gains_nothing_and_a_fixed_one_much() -> None:
    by_tokens = [LengthCost(length, 2e-4 * length, 2e-4 * length) for length in LENGTHS]
    by_runs = [LengthCost(length, 1e-3, 1e-3 / 4) for length in LENGTHS]

    assert gain_of(by_tokens, filled_share=0.125) == pytest.approx(1 / 1.125)
    assert gain_of(by_runs, filled_share=0.125) == pytest.approx(4 / 1.125)
    assert gain_of([], filled_share=0.125) is None


class Timed:
    """Takes ``run_s`` a run and ``token_s`` a token on its own clock; refuses more than ``longest`` tokens."""

    def __init__(self, signature: Signature, run_s: float, token_s: float, longest: int = 512) -> None:
        self.signature, self.run_s, self.token_s, self.longest = signature, run_s, token_s, longest
        self.now_s = 0.0

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
        mask = inputs["attention_mask"]
        assert mask.all(), "a row that is masked in part would cost less where the kernel looks"
        if mask.shape[1] > self.longest:
            raise InvalidInput("too long")
        self.now_s += self.run_s + self.token_s * mask.size
        return {}


def costs_of(model: Timed, budget_s: float = 10.0) -> list[LengthCost]:
    padding = prove_padding(masked_sum())
    return measure_lengths(model, padding, budget_s=budget_s, clock=lambda: model.now_s)  # type: ignore[arg-type]  # a model as far as it is used


def test_what_is_measured_is_the_time_of_runs() -> None:
    costs = costs_of(Timed(masked_sum().signature, 1e-3, 1e-4))

    assert [cost.length for cost in costs] == list(LENGTHS)
    assert costs[0].alone_s == pytest.approx(1e-3 + 16e-4)
    assert costs[0].together_s == pytest.approx(1e-3 / 4 + 16e-4)


def test_lengths_that_the_model_refuses_or_that_take_too_long_are_left_out() -> None:
    signature = masked_sum().signature

    assert [cost.length for cost in costs_of(Timed(signature, 1e-3, 1e-4, longest=64))] == [16, 32, 64]
    assert costs_of(Timed(signature, 60.0, 0.0)) == []
    assert costs_of(Timed(signature, 1e-3, 1e-4, longest=1)) == []


def test_a_real_model_is_measured() -> None:
    model = masked_sum()

    costs = measure_lengths(model, prove_padding(model), budget_s=5.0)

    assert [cost.length for cost in costs] == list(LENGTHS)
    assert all(cost.alone_s > 0.0 < cost.together_s for cost in costs)
