"""Requests of unlike length share a run, and each gets the answer, and the shape, that it would get alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlserve.core.dtypes import DType
from mlserve.core.settings import Buckets
from mlserve.runtime.certificate import certify
from mlserve.runtime.costs import Costs
from mlserve.runtime.filling import decide_filling
from mlserve.serving.batching import Waiting
from mlserve.serving.buckets import GROWTH, edge_of
from mlserve.serving.grpc.encoding import _frame
from mlserve.serving.loaded import Loaded
from mlserve.serving.oip.encoding import encode_plain
from mlserve.serving.seam import Answer, InferRequest, InputTensor
from tests.runtime.test_padding import masked_sum

COSTS = Costs(alpha_s=1e-3, beta_s=1e-5, has_control_flow=False)


def _loaded(asked: Buckets = "on", *, gain: float | None = None, heeds_mask: bool = True) -> Loaded:
    model = masked_sum(heeds_mask=heeds_mask)
    certificate = certify(model)
    filling = decide_filling(asked, certificate.padding, gain)
    return Loaded("m", 1, model, certificate, COSTS, max_rows=64, filling=filling)


def length_request(length: int, rows: int = 1, mask: float = 1.0, *, is_flat: bool = False) -> InferRequest:
    values = np.arange(1, rows * length + 1, dtype=np.float32).reshape(rows, length) * length
    given = {"x": values, "attention_mask": np.full((rows, length), mask, np.float32)}
    return InferRequest(
        "m",
        None,
        [
            InputTensor(name, DType.FLOAT32, array.shape, array.ravel().tolist() if is_flat else array)
            for name, array in given.items()
        ],
    )


def _answers(loaded: Loaded, *requests: InferRequest) -> list[Answer]:
    waiting = []
    for request in requests:
        rows, key = loaded.intake.admit(request)
        waiting.append(Waiting(request, None, rows, key, 0.0))
    answers = [answer for run in loaded.execute(waiting) for answer in run.answers()]
    assert all(isinstance(answer, Answer) for answer in answers), answers
    return answers  # type: ignore[return-value]  # just asserted


def _arrays(answer: Answer) -> dict[str, Any]:
    return {output.name: output.array() for output in answer.outputs}


def test_edges_grow_by_a_bounded_part_and_hold_every_length() -> None:
    for length in range(1, 2000):
        edge = edge_of(length)
        assert length <= edge <= max(length + 1, length * GROWTH + 1)
        assert edge_of(edge) == edge


@pytest.mark.parametrize("is_flat", [False, True], ids=["arrays", "lists"])
def test_requests_of_unlike_length_get_the_answers_they_get_alone(*, is_flat: bool) -> None:
    loaded = _loaded()
    requests = [
        length_request(9, is_flat=is_flat),
        length_request(10, 3, is_flat=is_flat),
        length_request(9, 2, is_flat=is_flat),
    ]

    together = _answers(loaded, *requests)

    assert len({id(answer.batch) for answer in together}) == 1
    for request, answer in zip(requests, together, strict=True):
        (alone,) = _answers(loaded, request)
        for one, other in zip(answer.outputs, alone.outputs, strict=True):
            assert one.shape == other.shape == one.array().shape
            assert one.flat() == other.flat()
            np.testing.assert_array_equal(one.array(), other.array())
        assert encode_plain(answer) == encode_plain(alone)
        assert _frame(answer) == _frame(alone)


def test_lengths_of_one_bucket_have_one_key_and_others_have_not() -> None:
    intake = _loaded().intake

    keys = [intake.admit(length_request(length))[1] for length in (11, 10, 40)]

    assert keys[0] == keys[1] != keys[2]


def test_requests_of_equal_length_are_not_filled_up() -> None:
    answers = _answers(_loaded(), length_request(9), length_request(9))

    assert [answer.length for answer in answers] == [None, None]
    assert answers[0].batch.arrays["tokens"].shape == (2, 9)


def test_a_row_that_the_mask_hides_whole_shares_only_with_rows_of_its_length() -> None:
    intake = _loaded().intake

    hidden, other = intake.admit(length_request(9, mask=0.0))[1], intake.admit(length_request(10, mask=0.0))[1]

    assert len({hidden, other, intake.admit(length_request(9))[1]}) == 3
    assert intake.admit(length_request(9, mask=0.0, is_flat=True))[1] == hidden


def test_inputs_of_unequal_length_run_alone() -> None:
    request = length_request(9)
    request.inputs[0] = length_request(8).inputs[0]

    assert _loaded().intake.admit(request)[1] is None


@pytest.mark.parametrize(
    ("loaded", "shown"),
    [
        pytest.param(_loaded("off"), "off", id="off"),
        pytest.param(
            _loaded("auto", gain=1.1),
            "off: a row is 1.10 times as cheap in company, and 1.25 is what pays",
            id="no gain",
        ),
        pytest.param(
            _loaded(heeds_mask=False),
            "refused: a row's answer changes when it is filled up under the mask",
            id="refused",
        ),
    ],
)
def test_without_buckets_lengths_stay_apart_and_the_view_says_why(loaded: Loaded, shown: str) -> None:
    assert loaded.intake.admit(length_request(9))[1] != loaded.intake.admit(length_request(10))[1]
    assert loaded.view.padding == shown


def test_the_view_says_how_exactly_filled_up_rows_are_answered() -> None:
    assert _loaded().view.padding in ("exact", "close")
