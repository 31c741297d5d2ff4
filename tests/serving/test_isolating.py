"""A batch with something wrong in it: who is refused, who is answered, and what that costs in runs."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput
from mlserve.serving.batching import Waiting
from mlserve.serving.isolating import run_isolated
from mlserve.serving.seam import InferRequest, InputTensor


def waiting(*values: float) -> Waiting:
    request = InferRequest("m", None, [InputTensor("x", DType.FLOAT32, (len(values), 1), list(values))])
    return Waiting(request, None, len(values), (1,), 0.0)


class Model:
    """Sums its rows; refuses what is negative, and cannot gather what is infinite."""

    def __init__(self, error: type[Exception] = InvalidInput) -> None:
        self.runs: list[int] = []
        self.error = error

    def check(self, request: InferRequest) -> None:
        if float("inf") in request.inputs[0].values:
            raise InvalidInput("out of range")

    def run(self, batch: Sequence[Waiting]) -> float:
        for one in batch:
            self.check(one.request)
        values = [value for one in batch for value in one.request.inputs[0].values]
        self.runs.append(len(values))
        if min(values) < 0:
            raise self.error("refused")
        return sum(values)


@given(
    requests=st.lists(
        st.lists(st.sampled_from([1.0, 2.0, 3.0, -1.0, float("inf")]), min_size=1, max_size=4), min_size=1, max_size=40
    )
)
def test_every_request_is_in_one_part_and_fails_only_for_what_is_in_itself(requests: list[list[float]]) -> None:
    model, batch = Model(), [waiting(*values) for values in requests]

    parts = run_isolated(batch, model.run, model.check)

    found = [one for part, _ in parts for one in part]
    assert sorted(map(id, found)) == sorted(map(id, batch))
    for part, outcome in parts:
        values = [value for one in part for value in one.request.inputs[0].values]
        is_bad = min(values) < 0 or float("inf") in values
        assert isinstance(outcome, Exception) == is_bad
        assert len(part) == 1 if is_bad else outcome == sum(values)


@given(size=st.integers(2, 200), data=st.data())
def test_one_bad_request_among_many_costs_the_logarithm_of_their_number_in_runs(size: int, data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, size - 1))
    model, batch = Model(), [waiting(-1.0 if number == bad else 1.0) for number in range(size)]

    parts = run_isolated(batch, model.run, model.check)

    assert [part for part, outcome in parts if isinstance(outcome, Exception)] == [[batch[bad]]]
    assert len(model.runs) <= 2 * ceil(log2(size)) + 1
    assert sum(model.runs) <= 4 * size


def test_what_cannot_be_gathered_costs_one_run_for_all_others() -> None:
    model, batch = Model(), [waiting(float("inf") if number % 3 == 0 else 1.0) for number in range(60)]

    run_isolated(batch, model.run, model.check)

    assert model.runs == [40]


@pytest.mark.parametrize("bad", [-1.0, float("inf")], ids=["the model refuses it", "it cannot be gathered"])
@pytest.mark.parametrize("others", [0, 5])
@pytest.mark.parametrize("row", range(5))
def test_the_message_says_which_row_of_several_it_is(bad: float, others: int, row: int) -> None:
    model = Model()
    batch = [waiting(1.0) for _ in range(others)]
    batch.insert(others // 2, waiting(*[bad if number == row else 1.0 for number in range(5)]))

    parts = run_isolated(batch, model.run, model.check)

    errors = [outcome for _, outcome in parts if isinstance(outcome, Exception)]
    assert [str(error) for error in errors] == [f"row {row}: {'refused' if bad < 0 else 'out of range'}"]


def test_a_request_of_one_row_and_what_only_fails_as_a_whole_are_told_no_row() -> None:
    model = Model()
    assert str(run_isolated([waiting(-1.0)], model.run, model.check)[0][1]) == "refused"

    def too_many(batch: Sequence[Waiting]) -> None:
        if sum(one.rows for one in batch) > 2:
            raise InvalidInput("too many rows")

    assert str(run_isolated([waiting(1.0, 2.0, 3.0)], too_many, model.check)[0][1]) == "too many rows"


def test_a_bug_is_passed_on_as_it_is() -> None:
    model = Model(ZeroDivisionError)

    outcome = run_isolated([waiting(1.0, -1.0)], model.run, model.check)[0][1]

    assert isinstance(outcome, ZeroDivisionError)
    assert model.runs == [2]
