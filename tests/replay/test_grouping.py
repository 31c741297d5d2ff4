"""Rows of one query are ranked together, in whatever requests and runs they came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlserve.compare.ladder.comparison import Comparison
from mlserve.errors import InvalidInput, UsageError
from mlserve.replay.findings import Findings
from mlserve.replay.found import Found
from mlserve.replay.grouping import Groups, groups_by
from mlserve.replay.replaying import Plan, replay_fast
from mlserve.rows.captured_reading import Captured
from tests import models
from tests.replay.making import Counting, answered_by, loaded, version

QUERIES, EACH = 12, 8


def asked() -> Any:
    """(96, 4) float32: the query's number, and three features that decide."""
    x = np.random.default_rng(0).normal(size=(QUERIES * EACH, 4)).astype(np.float32)
    x[:, 0] = np.repeat(np.arange(QUERIES), EACH)
    return x


def ranking(folder: Path, runs: list[list[int]], x: Any, groups: Groups | None) -> dict[str, Any]:
    with loaded(models.regressor()) as model, loaded(models.regressor(seed=1)) as other:
        answered_by(model, folder, runs, given={"x": x})
        state = Found([Findings(Comparison())])
        replay_fast(Captured(folder), [version(other)], Plan(groups=groups), state)
    found: dict[str, Any] = state.candidates[0].comparison.figures()["ranking"]
    return found


def test_a_query_in_many_requests_is_ranked_as_one_that_came_at_once(tmp_path: Path) -> None:
    x = asked()
    mixed = x[np.random.default_rng(1).permutation(len(x))]

    whole = ranking(tmp_path / "whole", [[EACH, EACH]] * (QUERIES // 2), x, None)
    spread = ranking(tmp_path / "spread", [[1, 1, 2]] * (len(x) // 4), mixed, groups_by("x[0]", ["x"]))

    assert whole["groups"] == spread["groups"] == QUERIES
    for name in ("ndcg", "mrr"):
        # The same numbers, summed in another order.
        assert spread[name]["after"] == pytest.approx(whole[name]["after"], rel=1e-9)
    for name in ("kendall_tau_b", "rbo"):
        assert spread[name]["mean"] == pytest.approx(whole[name]["mean"], rel=1e-9)


def test_rows_of_a_request_that_failed_are_in_no_group(tmp_path: Path) -> None:
    with loaded(models.regressor()) as model:
        answered_by(model, tmp_path, [[1, 2, 1]], given={"x": asked()[:4]})

        def run(inputs: Any) -> Any:
            if len(inputs["x"]) > 1:
                raise InvalidInput("too many")
            return model.run(inputs)

        seen: list[Any] = []

        class Grouped(Counting):
            def add(self, pairs: Any) -> None:
                super().add(pairs)
                seen.extend(pairs.groups.tolist())

        state = Found([Findings(Grouped())])
        picky = version(model)
        picky = type(picky)(picky.ref, picky.digest, picky.signature, run, 8)
        replay_fast(Captured(tmp_path), [picky], Plan(groups=lambda batch: batch.inputs["x"][:, 1]), state)

    assert seen == asked()[[0, 3], 1].tolist()


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        pytest.param("qid", UsageError, "no input 'qid' was captured", id="no such input"),
        pytest.param("qid[0]", UsageError, "no input 'qid' was captured", id="no such input with a column"),
        pytest.param("x", InvalidInput, "has 4 values a row", id="several values a row"),
        pytest.param("x[4]", InvalidInput, r"no \[4\]", id="no such column"),
    ],
)
def test_what_cannot_say_a_group_is_told(tmp_path: Path, name: str, error: type[Exception], said: str) -> None:
    with loaded(models.regressor()) as model:
        answered_by(model, tmp_path, [[1]])
    (batch,) = Captured(tmp_path).batches()

    with pytest.raises(error, match=said):
        groups_by(name, ["x"])(batch)
