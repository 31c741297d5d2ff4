"""Whether a version may enter a stage: each demand of the policy held against the evidence. Pure, so time is passed in.

Two gates hold in every stage, with or without a policy: the newest ``load`` evidence has not failed, and clients of
what is in production could be answered. Missing ``load`` evidence is a warning unless a policy requires it.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mlserve.core.evidence import Evidence
from mlserve.core.refs import Stage
from mlserve.core.tensors import Signature
from mlserve.registry.policies import Comparison, Policy, Requirement, spell_age
from mlserve.registry.records import Gate

CLOCK_SKEW = timedelta(minutes=5)
"""How far ahead of this machine's clock a measurement may lie before its time is not believed."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version as gates see it."""

    ref: str
    signature: Signature
    metrics: Mapping[str, float]


def evaluate(
    policy: Policy,
    stage: Stage,
    candidate: Candidate,
    evidence: Sequence[Evidence],
    production: Candidate | None,
    *,
    now: datetime,
) -> list[Gate]:
    """Every gate that ``candidate`` meets on its way to ``stage``, in the order of the policy.

    ``evidence`` is what is known of the candidate's digest, ``production`` what is in production now (None: nothing).
    """
    demands = policy.of(stage)
    newest_first = sorted(evidence, key=lambda item: item.measured_at, reverse=True)
    gates = [_loads(newest_first), _signature(candidate, production)]
    for requirement in demands.require:
        gates += _required(requirement, newest_first, now)
    gates += [_compared(comparison, candidate, production) for comparison in demands.compare_with_production]
    return gates


def is_refused(gates: Sequence[Gate]) -> bool:
    """Whether any gate failed; one that could not be judged does not refuse."""
    return any(gate.passed is False for gate in gates)


def warnings_of(gates: Sequence[Gate]) -> list[str]:
    """What could not be judged, as sentences."""
    return [f"{gate.name}: {gate.detail}" for gate in gates if gate.passed is None]


def _loads(newest_first: Sequence[Evidence]) -> Gate:
    found = next((item for item in newest_first if item.kind == "load"), None)
    if found is None or found.passed is None:
        return Gate("loads", None, detail="no evidence that this version loads")
    return Gate("loads", found.passed, detail="it loads" if found.passed else "it did not load when it was tried")


def _signature(candidate: Candidate, production: Candidate | None) -> Gate:
    if production is None:
        return Gate("signature", True, detail="nothing is in production to be compatible with")
    problems = production.signature.incompatibilities(candidate.signature)
    detail = "; ".join(problems) or "compatible with production's"
    return Gate("signature", not problems, measured=float(len(problems)), threshold=0.0, detail=detail)


def _required(requirement: Requirement, newest_first: Sequence[Evidence], now: datetime) -> Iterator[Gate]:
    kind = requirement.kind
    found = next(
        (item for item in newest_first if item.kind == kind and (requirement.imported or item.origin == "measured")),
        None,
    )
    if found is None:
        measured_here = "" if requirement.imported else " measured by this registry's own commands"
        yield Gate(kind, False, detail=f"no evidence of kind '{kind}'{measured_here}")
        return
    yield _outcome(requirement, found)
    if requirement.figure is not None:
        yield from _bounded(requirement, requirement.figure, found)
    if requirement.longest_age is not None:
        yield _recent(requirement, requirement.longest_age, now - found.measured_at)


def _outcome(requirement: Requirement, found: Evidence) -> Gate:
    if found.passed is None:
        detail = "recorded without a verdict" if requirement.passed else "recorded"
        return Gate(requirement.kind, requirement.passed is not True, detail=detail)
    return Gate(requirement.kind, found.passed, detail="passed" if found.passed else "it did not pass")


def _bounded(requirement: Requirement, figure: str, found: Evidence) -> Iterator[Gate]:
    name, measured = f"{requirement.kind}.{figure}", found.figure(figure)
    for bound, word, is_met in (
        (requirement.min, "at least", operator.ge),
        (requirement.max, "at most", operator.le),
    ):
        if bound is not None:
            passed = measured is not None and is_met(measured, bound)
            detail = f"must be {word} {bound:g}" if measured is not None else f"the evidence has no number '{figure}'"
            yield Gate(name, passed, measured, bound, detail)


def _recent(requirement: Requirement, longest: timedelta, age: timedelta) -> Gate:
    believed = age >= -CLOCK_SKEW
    detail = f"measured {spell_age(age.total_seconds())} ago, at most {requirement.max_age}"
    return Gate(
        f"{requirement.kind}.age",
        believed and age <= longest,
        measured=age.total_seconds(),
        threshold=longest.total_seconds(),
        detail=detail if believed else "measured in the future, by its own account",
    )


def _compared(comparison: Comparison, candidate: Candidate, production: Candidate | None) -> Gate:
    """``measured`` is the drop (or the gain) against production, in the metric's units and in the sense of better."""
    name, metric = f"{comparison.metric} vs production", comparison.metric
    threshold = comparison.max_drop if comparison.max_drop is not None else comparison.min_gain
    if production is None:
        return Gate(name, True, None, threshold, "nothing is in production to compare with")
    for side in (candidate, production):
        if metric not in side.metrics:
            return Gate(name, False, None, threshold, f"{side.ref} has no metric '{metric}'")
    here, there = candidate.metrics[metric], production.metrics[metric]
    seen = f"{here:.6g}, {production.ref} has {there:.6g}"
    gain = here - there
    if comparison.lower_is_better:
        gain = -gain
    if comparison.max_drop is not None:
        # A drop of 0.01 between decimal figures is 0.010000000000000009 in binary.
        passed = -gain <= comparison.max_drop + _EPSILON
        return Gate(name, passed, -gain, threshold, f"{seen}: may drop by {comparison.max_drop:g}")
    assert comparison.min_gain is not None
    passed = gain >= comparison.min_gain - _EPSILON
    return Gate(name, passed, gain, threshold, f"{seen}: must gain {comparison.min_gain:g}")


_EPSILON = 1e-12
