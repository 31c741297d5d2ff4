"""Which session of a version runs a batch."""

from __future__ import annotations

from mlserve.runtime.certificate import certify
from mlserve.runtime.costs import Costs
from mlserve.runtime.lone import Lone
from mlserve.serving.batching import Waiting
from mlserve.serving.loaded import Loaded
from mlserve.serving.seam import Answer
from tests.runtime.test_padding import masked_sum
from tests.serving.test_buckets import length_request


def _loaded(lone: Lone) -> Loaded:
    model = masked_sum()
    return Loaded("m", 1, model, certify(model), Costs(1e-3, 1e-5, has_control_flow=False), lone=lone)


def _waiting(loaded: Loaded) -> Waiting:
    request = length_request(5)
    rows, key = loaded.intake.admit(request)
    return Waiting(request, None, rows, key, 0.0)


def test_a_lone_request_is_answered_by_the_second_session_and_several_by_the_first() -> None:
    second = masked_sum()
    loaded = _loaded(Lone(second, "alike"))
    one = _waiting(loaded)
    (run,) = loaded.execute_alone([one])
    (answer,) = run.answers()
    assert isinstance(answer, Answer)
    second.close()

    (refused,) = loaded.execute_alone([one])
    (several,) = loaded.execute_alone([one, _waiting(loaded)])

    assert loaded.view.lone_session == "exact"
    assert isinstance(refused.outcome, Exception), "the second session was closed, and is the one that ran"
    assert not isinstance(several.outcome, Exception)


def test_without_a_second_session_a_lone_request_is_run_by_the_first_and_the_view_says_why() -> None:
    loaded = _loaded(Lone(None, "every run has all cores"))

    (run,) = loaded.execute_alone([_waiting(loaded)])

    assert not isinstance(run.outcome, Exception)
    assert loaded.view.lone_session == "refused: every run has all cores"
