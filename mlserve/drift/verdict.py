"""What a check comes to: one verdict of all judgements, its reasons, and the exit code that a script sees. Pure.

    stale > insufficient > critical > performance > warn > ok

The first that holds. A window of too few rows is insufficient, unless the rows that are there show that a column has
gone or is broken: for that one does not need many.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from mlserve.drift.judgements import Judgement, Layer, Severity, worst
from mlserve.drift.windows import Supply
from mlserve.errors import UsageError
from mlserve.registry.drifting import Verdict

FailOn = Literal["warn", "critical", "never"]
EXITS: dict[Verdict, int] = {"ok": 0, "warn": 10, "critical": 11, "performance": 12, "insufficient": 20, "stale": 21}
SHOWN = 12
"""So many reasons are told."""


def verdict_of(supply: Supply, judgements: Sequence[Judgement]) -> Verdict:
    """The verdict over the judgements of all layers.

    >>> gone = Judgement(Layer.QUALITY, "age", "nulls", Severity.CRITICAL, drift=True)
    >>> verdict_of("enough", []), verdict_of("insufficient", []), verdict_of("insufficient", [gone])
    ('ok', 'insufficient', 'critical')
    """
    if supply == "stale":
        return "stale"
    if supply == "insufficient":
        return "critical" if any(_needs_no_rows(one) for one in judgements) else "insufficient"
    if worst(one for one in judgements if one.layer is not Layer.CONCEPT) >= Severity.CRITICAL:
        return "critical"
    if any(one.drift for one in judgements if one.layer is Layer.CONCEPT):
        return "performance"
    return "warn" if worst(judgements) >= Severity.WARN else "ok"


def reasons_of(judgements: Iterable[Judgement], why: str = "") -> list[str]:
    """What led to the verdict in words, the worst first; ``why`` is what there is to say of the supply of rows."""
    found = sorted(
        (one for one in judgements if one.severity >= Severity.WARN),
        key=lambda one: (-one.severity, -(_times(one) or 0.0)),
    )
    told = [_said(one) for one in found]
    more = [f"and {len(told) - SHOWN} more"] if len(told) > SHOWN else []
    return [*([why] if why else []), *told[:SHOWN], *more]


def exit_of(verdict: Verdict, fail_on: FailOn = "warn") -> int:
    """The exit code: ``critical`` makes a warning 0, and only ``never`` silences a window that nobody can judge.

    >>> exit_of("warn"), exit_of("warn", "critical"), exit_of("stale", "critical"), exit_of("stale", "never")
    (10, 0, 21, 0)
    """
    if fail_on == "never" or (fail_on == "critical" and verdict == "warn"):
        return 0
    return EXITS[verdict]


def parse_fail_on(text: str) -> FailOn:
    """What ``--fail-on`` says. Raises UsageError."""
    match text:
        case "warn" | "critical" | "never":
            return text
        case _:
            raise UsageError(f"--fail-on '{text}' is no verdict", hint="warn, critical or never")


def _needs_no_rows(one: Judgement) -> bool:
    return one.layer is Layer.QUALITY and one.name is not None and one.severity is Severity.CRITICAL


def _times(one: Judgement) -> float | None:
    return one.effect / one.threshold if one.effect is not None and one.threshold else None


def _said(one: Judgement) -> str:
    subject = one.name or one.layer.value
    if one.layer in (Layer.QUALITY, Layer.CONCEPT) and one.detail:
        return f"{subject}: {one.detail}"
    size = "" if one.effect is None or one.threshold is None else f" {one.effect:.3g}, {one.threshold:.3g} is usual"
    return f"{subject}: {one.test}{size}"
