"""The page of a drift check shows what was found, leaves out what was not, and believes no text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.report.drift import render_drift

HOSTILE = '<script>alert("x")</script>'


def feature(name: str = "age", **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "numeric",
        "test": "ks",
        "statistic": 0.4,
        "p_value": 1e-9,
        "adjusted_p_value": 1e-8,
        "effect": 0.5,
        "threshold": 0.1,
        "drift": True,
        "severity": "critical",
        "since": None,
        "before": {"count": 100, "null_share": 0.0, "quantiles": {"0.05": 1.0, "0.5": 2.0}, "top": None},
        "after": {"count": 90, "null_share": 0.1, "quantiles": {"0.05": 2.0, "0.5": 3.0}, "top": None},
        "curves": {"before": [[0.0, 0.0], [1.0, 1.0]], "after": [[1.0, 0.0], [2.0, 1.0]]},
        "history": [0.02, None, 0.2],
    } | changes


def document(**changes: Any) -> dict[str, Any]:
    return {
        "schema": "mlserve.drift/1",
        "ref": "churn:3",
        "verdict": "critical",
        "reasons": ["age: ks, effect 0.5 of at most 0.1"],
        "window": {"kind": "24h", "rows": 90},
        "reference": {"kind": "training", "rows": 100},
        "features": [feature()],
        "quality": [],
        "multivariate": [],
        "prediction": None,
        "performance": None,
        "evidence": {
            "kind": "lord++",
            "limit": 0.01,
            "path": [["2026-11-01T00:00:00Z", 0.5], ["2026-11-02T00:00:00Z", 0.001]],
            "alpha": 0.002,
            "false_pages_per_quarter": 1.0,
            "correction": "bh",
        },
        "naive": {"alpha": 0.05, "drifting": 3, "expected_false_per_month": 30.4},
    } | changes


def test_the_verdict_stands_first_with_its_reasons() -> None:
    page = render_drift(document())

    assert page.index("critical") < page.index("age: ks, effect 0.5") < page.index("<h2>Features</h2>")
    assert "1 of 1 drift" in page
    assert "about 30.4 false alarms a month" in page
    assert page.count("<polyline") >= 3


def test_the_worst_feature_stands_first() -> None:
    features = [feature("calm", severity="none", drift=False, effect=0.01), feature("torn", severity="critical")]

    page = render_drift(document(features=features))

    assert page.index("<b>torn</b>") < page.index("<b>calm</b>")


def test_hundreds_of_features_unfold() -> None:
    page = render_drift(document(features=[feature(f"f{number}") for number in range(300)]))

    assert "276 more" in page
    assert page.count("<svg") < 40


def test_every_text_is_escaped() -> None:
    page = render_drift(
        document(
            ref=HOSTILE,
            reasons=[HOSTILE],
            features=[feature(HOSTILE, test=HOSTILE)],
            localisation={"features": [HOSTILE], "slices": [{"where": HOSTILE, "rows": 1, "share": 0.5, "lift": 2.0}]},
            actions=[{"action": HOSTILE, "state": "done", "detail": HOSTILE}],
        )
    )

    assert "<script" not in page


@pytest.mark.parametrize("verdict", ["ok", "insufficient", "stale", "performance"])
def test_a_document_of_almost_nothing_has_a_page(verdict: str) -> None:
    page = render_drift({"verdict": verdict})

    assert f"<h2>{verdict}</h2>" in page


PARTS = ["quality", "features", "multivariate", "prediction", "performance", "embedding", "evidence", "localisation",
         "naive", "actions", "window", "reference", "reasons"]  # fmt: skip


@given(st.sets(st.sampled_from(PARTS)))
def test_any_part_may_be_null(parts: set[str]) -> None:
    assert "<h2>critical</h2>" in render_drift(document(**dict.fromkeys(parts)))


def test_predictions_and_performance_are_shown() -> None:
    page = render_drift(
        document(
            prediction={
                "output": "p",
                "tests": [{"name": None, "test": "ks", "severity": "warn", "statistic": 0.2, "detail": "moved"}],
                "curves": {"before": [[0.0, 0.0], [1.0, 1.0]], "after": [[0.5, 0.0], [1.0, 1.0]]},
                "class_mix": {"before": {"yes": 0.2, "no": 0.8}, "after": {"yes": 0.4, "no": 0.6}},
            },
            performance={
                "metric": "accuracy",
                "fitted": 0.9,
                "measured": 0.8,
                "labelled": 500,
                "drop": 0.1,
                "estimated": {
                    "metric": "accuracy",
                    "value": 0.85,
                    "interval": [0.8, 0.9],
                    "trusted": False,
                    "why": "x",
                },
                "slices": [{"where": "age > 3", "rows": 5, "loss": 0.4}],
            },
        )
    )

    assert "moved" in page
    assert "not to be trusted: x" in page
    assert "age &gt; 3" in page
    assert "40 %" in page
