"""The words of a replay, and what of them holds whatever was opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlserve.errors import UsageError

if TYPE_CHECKING:
    from mlserve.replay.judging import Condition

RECORDED = "recorded"


@dataclass(frozen=True, slots=True)
class Asked:
    """The words of a replay. ``since_ns`` and ``until_ns`` bound the time of arrival; None is what is usual."""

    capture: Path
    against: Sequence[str]
    baseline: str = RECORDED
    speed: str = "max"
    batches: Literal["recorded", "fresh"] | None = None
    atol: float | None = None
    rtol: float | None = None
    metric: str | None = None
    outcomes: Path | None = None
    group: str | None = None
    fail_on: Sequence[str] = ()
    resume: bool = False
    limit: int | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    version: int | None = None
    connections: int | None = None
    report: Path | None = None
    api_key_file: Path | None = None


def conditions_of(asked: Asked) -> list[Condition]:
    from mlserve.replay.judging import parse_condition

    metrics = [asked.metric] if asked.metric else []
    return [parse_condition(text, metrics) for text in asked.fail_on]


def places_of(metric: str | None) -> int | None:
    """How many places a metric such as ``ndcg@10`` looks at; None where it does not say. Raises UsageError.

    >>> places_of("ndcg@5"), places_of("agreement"), places_of(None)
    (5, None, None)
    """
    name, at, number = (metric or "").partition("@")
    if not at:
        return None
    if not name or not number.isdecimal() or not int(number):
        raise UsageError(f"--metric '{metric}' is none", hint="such as ndcg@10")
    return int(number)
