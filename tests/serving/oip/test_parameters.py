"""Request parameters become what the engine understands; what means nothing is left alone, what misleads is refused."""

from __future__ import annotations

from typing import Any

import pytest

from mlserve.errors import InvalidInput, Unsupported
from mlserve.serving.oip.parameters import apply_parameters
from mlserve.serving.seam import InferRequest


def applied(deadline_s: float | None = None, **parameters: Any) -> InferRequest:
    request = InferRequest("m", None, [], deadline_s=deadline_s)
    apply_parameters(request, parameters, lambda: 100.0)
    return request


def test_priority_key_and_receipt_come_along() -> None:
    request = InferRequest("m", None, [])

    wants_receipt = apply_parameters(
        request, {"priority": 2, "unit_key": "user-7", "receipt": True, "mine": "x"}, lambda: 0.0
    )

    assert (request.priority, request.unit_key, request.deadline_s, wants_receipt) == (2, "user-7", None, True)


def test_a_key_that_is_a_number_is_its_text() -> None:
    assert applied(unit_key=7).unit_key == "7"


@pytest.mark.parametrize(
    ("deadline_s", "timeout", "expected"),
    [(None, 1_000_000, 101.0), (100.5, 1_000_000, 100.5), (105.0, 1_000_000, 101.0), (105.0, 0, 105.0)],
)
def test_the_earlier_of_two_deadlines_holds(deadline_s: float | None, timeout: int, expected: float) -> None:
    assert applied(deadline_s, timeout=timeout).deadline_s == expected


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"priority": -1}, id="negative priority"),
        pytest.param({"priority": 1.5}, id="fractional priority"),
        pytest.param({"priority": "1"}, id="priority as text"),
        pytest.param({"timeout": -5}, id="negative timeout"),
        pytest.param({"timeout": True}, id="timeout as flag"),
        pytest.param({"receipt": 1}, id="receipt as number"),
        pytest.param({"triton_enable_empty_final_response": True}, id="the server's own"),
    ],
)
def test_what_misleads_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        applied(**parameters)


@pytest.mark.parametrize("parameters", [{"sequence_id": 5}, {"sequence_id": "a"}, {"sequence_end": True}])
def test_sequences_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match="sequence"):
        applied(**parameters)


def test_a_sequence_of_nothing_is_none() -> None:
    # What a client sends that always fills the fields in.
    applied(sequence_id=0, sequence_start=False, sequence_end=False)
