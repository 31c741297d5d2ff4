"""Gates: each demand of a policy against the evidence there is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mlserve.core.evidence import Evidence
from mlserve.core.refs import Stage
from mlserve.registry.gating import Candidate, evaluate, is_refused, warnings_of
from mlserve.registry.policies import parse_policy
from mlserve.registry.records import Gate
from tests.registry.making import NOON, SIGNATURE, WIDER

NEW = Candidate("fraud:2", SIGNATURE, {"accuracy": 0.94, "rmse": 1.2})
OLD = Candidate("fraud:1", SIGNATURE, {"accuracy": 0.95, "rmse": 1.0, "f1": 0.5})


def measured(kind: str = "parity", passed: bool | None = True, age_h: float = 1.0, **options) -> Evidence:
    said = {"figures": {"max_abs": 1e-6, "speed": {"p50_ms": 2.0}}, "measured_by": "ann"} | options
    return Evidence(kind, "sha256:x", passed, measured_at=NOON - timedelta(hours=age_h), **said)


def judge(demands: str, *evidence: Evidence, production: Candidate | None = None, candidate=NEW) -> list[Gate]:
    """The gates beyond the two that always hold."""
    policy = parse_policy(f"[staging]\n{demands}")
    return evaluate(policy, Stage.STAGING, candidate, evidence, production, now=NOON)[2:]


@pytest.mark.parametrize(
    ("requirement", "evidence", "passed"),
    [
        pytest.param('kind = "parity"', [], [False], id="missing"),
        pytest.param('kind = "parity"', [measured("accuracy")], [False], id="of another kind"),
        pytest.param('kind = "parity"', [measured()], [True], id="there"),
        pytest.param('kind = "parity"', [measured(passed=False)], [False], id="failed"),
        pytest.param('kind = "parity"', [measured(passed=None)], [True], id="without a verdict"),
        pytest.param('kind = "parity", passed = true', [measured(passed=None)], [False], id="a verdict is asked for"),
        pytest.param('kind = "parity"', [measured(passed=False, age_h=9), measured()], [True], id="the newest counts"),
        pytest.param('kind = "parity", imported = false', [measured(origin="imported")], [False], id="imported"),
        pytest.param(
            'kind = "parity", imported = false', [measured(origin="imported", age_h=0), measured()], [True], id="own"
        ),
        pytest.param('kind = "parity", figure = "max_abs", max = 1e-5', [measured()], [True, True], id="at most"),
        pytest.param('kind = "parity", figure = "max_abs", max = 1e-7', [measured()], [True, False], id="too much"),
        pytest.param('kind = "parity", figure = "speed.p50_ms", min = 2', [measured()], [True, True], id="at least"),
        pytest.param('kind = "parity", figure = "speed.p50_ms", min = 3', [measured()], [True, False], id="too little"),
        pytest.param(
            'kind = "parity", figure = "max_abs", min = 0, max = 1', [measured()], [True, True, True], id="between"
        ),
        pytest.param('kind = "parity", figure = "none", max = 1', [measured()], [True, False], id="no such figure"),
        pytest.param(
            'kind = "parity", figure = "max_abs", max = 1',
            [measured(figures={"max_abs": "NaN"})],
            [True, False],
            id="NaN",
        ),
        pytest.param('kind = "parity", max_age = "2h"', [measured()], [True, True], id="young enough"),
        pytest.param('kind = "parity", max_age = "30m"', [measured()], [True, False], id="too old"),
        pytest.param('kind = "parity", max_age = "2h"', [measured(age_h=-1)], [True, False], id="from the future"),
    ],
)
def test_a_requirement_is_held_against_the_evidence(requirement: str, evidence: list[Evidence], passed: list) -> None:
    gates = judge(f"require = [{{{requirement}}}]", *evidence)

    assert [gate.passed for gate in gates] == passed
    assert is_refused(gates) == (False in passed)


def test_a_gate_says_what_was_measured_and_asked() -> None:
    gates = judge('require = [{kind = "parity", figure = "max_abs", max = 1e-7, max_age = "30m"}]', measured())

    assert gates == [
        Gate("parity", True, detail="passed"),
        Gate("parity.max_abs", False, 1e-6, 1e-7, "must be at most 1e-07"),
        Gate("parity.age", False, 3600.0, 1800.0, "measured 1h ago, at most 30m"),
    ]


@pytest.mark.parametrize(
    ("comparison", "passed", "figure"),
    [
        pytest.param('metric = "accuracy", max_drop = 0.01', True, 0.01, id="a drop as large as allowed"),
        pytest.param('metric = "accuracy", max_drop = 0.005', False, 0.01, id="a larger drop"),
        pytest.param('metric = "accuracy", min_gain = 0.0', False, -0.01, id="no gain"),
        pytest.param('metric = "rmse", max_drop = 0.1, lower_is_better = true', False, 0.2, id="lower is better"),
        pytest.param('metric = "rmse", min_gain = 0.2', True, 0.2, id="a gain as large as asked"),
        pytest.param('metric = "f1", max_drop = 1', False, None, id="the version lacks the metric"),
    ],
)
def test_a_metric_is_compared_with_production(comparison: str, passed: bool, figure: float | None) -> None:
    (gate,) = judge(f"compare_with_production = [{{{comparison}}}]", production=OLD)

    assert gate.passed is passed
    assert gate.measured == (figure if figure is None else pytest.approx(figure))


def test_production_without_the_metric_is_a_refusal_and_an_empty_production_is_not() -> None:
    demands = 'compare_with_production = [{ metric = "accuracy", max_drop = 0.0 }]'
    bare = Candidate("fraud:1", SIGNATURE, {})

    assert judge(demands, production=bare)[0].detail == "fraud:1 has no metric 'accuracy'"
    assert judge(demands, production=None)[0].passed


@pytest.mark.parametrize(
    ("evidence", "passed"),
    [
        pytest.param([], None, id="missing"),
        pytest.param([measured("load")], True, id="loads"),
        pytest.param([measured("load", passed=False, age_h=0), measured("load")], False, id="no longer loads"),
        pytest.param([measured("load", passed=None)], None, id="without a verdict"),
    ],
)
def test_without_a_policy_a_version_must_not_have_failed_to_load(evidence: list[Evidence], passed: bool | None) -> None:
    gates = evaluate(parse_policy(""), Stage.PRODUCTION, NEW, evidence, None, now=NOON)

    assert gates[0].passed is passed
    assert (warnings_of(gates) != []) is (passed is None)
    assert is_refused(gates) is (passed is False)


def test_without_a_policy_the_signature_must_serve_productions_clients() -> None:
    wider = Candidate("fraud:2", WIDER, {})

    gates = evaluate(parse_policy(""), Stage.PRODUCTION, wider, [], OLD, now=NOON)

    assert gates[1] == Gate("signature", False, 1.0, 0.0, "input 'x' was [-1, 4] and is [-1, 5]")
