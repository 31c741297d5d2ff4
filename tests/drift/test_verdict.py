"""What a check comes to: one verdict, its reasons and its exit code."""

from __future__ import annotations

import pytest

from mlserve.drift.judgements import Judgement, Layer, Severity
from mlserve.drift.verdict import exit_of, parse_fail_on, reasons_of, verdict_of
from mlserve.errors import UsageError

GONE = Judgement(Layer.QUALITY, "age", "nulls", Severity.CRITICAL, drift=True, detail="gone null")
FEW = Judgement(Layer.QUALITY, None, "rows", Severity.CRITICAL, drift=False)
MOVED = Judgement(Layer.FEATURE, "age", "ks", Severity.WARN, drift=True, effect=0.3, threshold=0.1)
FAR = Judgement(Layer.FEATURE, "plan", "chi2", Severity.CRITICAL, drift=True, effect=0.9, threshold=0.1)
WORSE = Judgement(Layer.CONCEPT, None, "error", Severity.CRITICAL, drift=True, detail="the mean error is above")


@pytest.mark.parametrize(
    ("supply", "judgements", "verdict"),
    [
        pytest.param("enough", [], "ok", id="nothing found"),
        pytest.param("enough", [MOVED], "warn", id="a feature moved"),
        pytest.param("enough", [MOVED, WORSE], "performance", id="worse beats a warning"),
        pytest.param("enough", [WORSE, FAR], "critical", id="critical beats worse"),
        pytest.param("insufficient", [MOVED], "insufficient", id="too few to say that a feature moved"),
        pytest.param("insufficient", [FEW], "insufficient", id="few rows are no broken column"),
        pytest.param("insufficient", [GONE], "critical", id="a column gone null needs few rows"),
        pytest.param("stale", [GONE], "stale", id="stale before all"),
    ],
)
def test_the_verdict_is_the_first_that_holds(supply: str, judgements: list[Judgement], verdict: str) -> None:
    assert verdict_of(supply, judgements) == verdict  # type: ignore[arg-type] # a parameter is any text to mypy


@pytest.mark.parametrize(
    ("fail_on", "exits"),
    [
        pytest.param("warn", [0, 10, 11, 12, 20, 21], id="warn"),
        pytest.param("critical", [0, 0, 11, 12, 20, 21], id="critical"),
        pytest.param("never", [0, 0, 0, 0, 0, 0], id="never"),
    ],
)
def test_only_never_silences_a_window_that_nobody_can_judge(fail_on: str, exits: list[int]) -> None:
    verdicts = ["ok", "warn", "critical", "performance", "insufficient", "stale"]

    assert [exit_of(verdict, parse_fail_on(fail_on)) for verdict in verdicts] == exits  # type: ignore[arg-type]


def test_another_word_for_fail_on_is_refused() -> None:
    with pytest.raises(UsageError, match="'soon' is no verdict"):
        parse_fail_on("soon")


def test_reasons_begin_with_the_worst() -> None:
    assert reasons_of([MOVED, FAR], "only 7 rows") == [
        "only 7 rows",
        "plan: chi2 0.9, 0.1 is usual",
        "age: ks 0.3, 0.1 is usual",
    ]
