"""The page of a comparison on traffic, as a browser would get it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mlserve.report.confusion import MOST, heat_map
from mlserve.report.differences import judged_difference
from mlserve.report.headline import headline
from mlserve.report.overlays import Line, bulk, density, overlay, ticks
from mlserve.report.replay import render_replay
from mlserve.report.sketch import sparkline
from mlserve.report.sparks import sparks
from tests.replay.answers import answer, bell
from tests.report.test_card import Page

EVIL = "<script>alert(1)</script>"


def test_the_verdict_and_its_conditions_come_first() -> None:
    page = render_replay([answer()])

    assert page.index("Refused") < page.index("agreement&lt;0.99") < page.index("At a glance")
    assert "✗ failed" in page


def test_everything_that_was_measured_is_on_the_page() -> None:
    text = Page(render_replay([answer()])).text

    for words in ("fraud:3 against what was recorded", "12 000", "97.5 %", "99.25 %", "probabilities", "legitimate",
                  "9 300", "0.541", "no difference shown", "worse", "amount > 412.5 and age <= 21.5", "6f1c-77",
                  "981.5", "left out: inputs were redacted", "input 'x' has 29 values a row, not 30"):  # fmt: skip
        assert any(words in part for part in text), words


def test_candidates_stand_side_by_side_and_share_the_pictures_of_the_baseline() -> None:
    page = render_replay([answer("fraud:3"), answer("fraud:4", passed=True)])
    one = render_replay([answer("fraud:3")])

    assert "fraud:3, fraud:4 against what was recorded" in page
    assert page.count("<svg") == one.count("<svg") + 5  # the intervals of the second one's figures
    assert page.count('<polyline class="curve curve-0"') == 4
    assert page.count('<polyline class="curve curve-2"') == 4


def test_the_page_asks_no_network_and_runs_no_script() -> None:
    page = render_replay([answer(), answer("fraud:4")])

    assert re.findall(r"(?:src|href)=|<script|@import|url\(", page) == []
    assert Page(page).urls == []


@pytest.mark.parametrize("part", [key for key in answer() if key != "ref"])
@pytest.mark.parametrize("missing", ["absent", "null"])
def test_whatever_is_missing_is_left_out(part: str, missing: str) -> None:
    document = answer(**{part: None})
    if missing == "absent":
        del document[part]

    Page(render_replay([document]))
    Page(render_replay([answer("fraud:4"), document]))


def test_an_answer_without_anything_is_a_page() -> None:
    assert "Compared" in Page(render_replay([{"ref": "fraud:3"}])).text


def test_what_could_not_be_measured_is_said() -> None:
    unmeasured = {"expression": "agreement<1", "name": "agreement", "value": None, "passed": False}

    assert "not measured" in Page(render_replay([answer(checks=[unmeasured])])).text


def test_text_of_others_is_escaped() -> None:
    document = answer(
        ref=EVIL,
        capture=EVIL,
        worst=[{"request_id": EVIL, "row": 0, "distance": 1.0, "inputs": {EVIL: EVIL}, "expected": {}, "actual": {}}],
        explanation={"rules": [{"where": EVIL, "rows": 1, "differing": 1, "share": 1.0}], "slices": [], "note": EVIL},
        decisions={"output": EVIL, "positions": 1, "agree": 1, "confusion": {"labels": [EVIL], "counts": [[1]]}},
        coverage={"captured_requests": 1, "replayed": 1, "failed": 0, "left_out": {EVIL: 1}},
        failures=[{"request_id": EVIL, "error": EVIL}],
    )

    assert "<script" not in render_replay([document])


def test_worst_rows_beyond_the_first_unfold_and_long_values_are_cut() -> None:
    row: dict[str, Any] = {"request_id": "r", "row": 0, "distance": 1.0, "expected": {}, "actual": {}}
    rows = [{**row, "inputs": {"x": list(range(100)), "text": "y" * 1000}} for _ in range(20)]

    page = render_replay([answer(worst=rows)])

    assert "12 more" in page
    assert "(100 values)" in page
    assert "y" * 300 not in page


def test_a_live_shadow_has_the_same_page() -> None:
    times = {"champion": {"p50_ms": 1.25, "mean_ms": 1.5}, "shadow": {"p50_ms": 3.75, "mean_ms": 4.0}}

    text = Page(render_replay([answer(latency=times, baseline="fraud:2")])).text

    assert {"1.25", "3.75"} <= set(text)


def test_a_shadow_can_say_what_it_was() -> None:
    assert "fraud:3 in the shadow" in render_replay([answer(baseline="fraud:2")], title="fraud:3 in the shadow")


def test_of_many_labels_those_that_differ_most_are_shown() -> None:
    size = 40
    counts = [[100 if i == j else 0 for j in range(size)] for i in range(size)]
    counts[30][31] = 7

    found = heat_map(list(range(size)), counts)

    assert len(found.labels) == MOST
    assert {"30", "31", "others"} <= set(found.labels)
    assert sum(cell.count for row in found.rows for cell in row) == 100 * size + 7


@pytest.mark.parametrize(
    ("interval", "higher_is_better", "verdict"),
    [
        pytest.param([0.1, 0.2], True, "better", id="up is good"),
        pytest.param([0.1, 0.2], False, "worse", id="up is bad"),
        pytest.param([-0.2, -0.1], False, "better", id="down is good"),
        pytest.param([-0.1, 0.2], True, "no difference shown", id="zero is within"),
        pytest.param([0.0, 0.0], True, "no difference shown", id="the same"),
        pytest.param(None, True, "not known", id="no interval"),
        pytest.param([None, None], True, "not known", id="an interval of nothing"),
    ],
)
def test_a_difference_counts_only_where_its_whole_interval_does(
    interval: list[float | None] | None, higher_is_better: bool, verdict: str
) -> None:
    item = {"difference": 0.1, "interval": interval, "higher_is_better": higher_is_better}

    assert judged_difference(item)["verdict"] == verdict


def test_a_density_holds_all_of_its_distribution() -> None:
    shape = density(bell(0.5, 0.1), 0.0, 1.0, bins=50)

    assert sum(height / 50 for _, height in shape) == pytest.approx(1.0, abs=1e-6)  # 5 spreads to both ends
    assert max(shape, key=lambda point: point[1])[0] == pytest.approx(0.5, abs=0.02)  # a bin


def test_scores_that_are_all_one_value_are_drawn() -> None:
    curve = [(0.5, 1.0)]
    low, high = bulk([curve])

    assert low < 0.5 < high
    assert overlay([Line(density(curve, low, high), 0, is_filled=True)], "t", x="x").count("<polyline") == 1


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3e-9, 4e-9), (1e6, 1.00001e6), (0.0, 12_345.0)])
def test_ticks_are_few_round_and_within(low: float, high: float) -> None:
    found = ticks(low, high)

    assert 2 <= len(found) <= 7
    assert all(low - 1e-12 * abs(low) <= value <= high + 1e-12 * abs(high) for value in found)


def test_figures_of_both_stand_in_one_line() -> None:
    lines = {line.name: line for line in headline([answer(), answer("fraud:4", metrics={})])}

    assert (lines["NDCG@10"].before, lines["NDCG@10"].after) == ("0.472", ("0.541", "–"))
    assert (lines["p99 ms"].before, lines["p99 ms"].after[0]) == ("9.8", "2.1")
    assert "NDCG@10 drop" not in lines


def test_sparks_of_all_are_over_the_same_values() -> None:
    (latency, scores) = sparks([answer()])

    assert latency.before is not None
    assert latency.after[0] is not None
    # Replayed answers were quicker, so their tallest block is further to the left.
    assert latency.after[0].index("█") < latency.before.index("█")
    assert scores.before is not None
    assert len({len(scores.before), len(latency.before), len(latency.after[0])}) == 1


def test_nothing_has_no_sparks() -> None:
    assert sparks([answer(latency=None, distribution=None)]) == []
    assert sparkline([0.0, 0.0]) == "▁▁"


def test_files_are_named_without_their_folders_where_that_tells_them_apart() -> None:
    apart = render_replay([answer("/runs/a/near.onnx"), answer("/runs/a/far.onnx")])
    alike = render_replay([answer("/runs/a/m.onnx"), answer("/runs/b/m.onnx")])

    assert "near.onnx, far.onnx against what was recorded" in apart
    assert "/runs/a/m.onnx, /runs/b/m.onnx against" in alike


def test_a_distance_in_ulp_that_says_nothing_is_not_spelled_out() -> None:
    (output,) = answer()["outputs"][:1]

    page = render_replay([answer(outputs=[{**output, "max_ulp": 1_021_222_416}])])

    assert "1 021 222 416" not in page
    assert "&gt; 1 000 000" in page
