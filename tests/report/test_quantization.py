"""The page of a quantization: one file, with what was tried, layer by layer and row by row."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from mlserve.report.charts import Spot, plane
from mlserve.report.quantization import render_quantization
from mlserve.report.scatter import Point, scatter
from mlserve.report.sketch import MARKS

METRIC = {"name": "cosine", "before": 1.0, "after": 0.998, "drop": 0.002, "interval": [0.001, 0.003], "rows": 200}
LATENCY = [{"rows": 1, "before_ms": 4.0, "after_ms": 2.0, "speedup": 2.0, "rounds": 9}]


def candidate(method: str, *, passed: bool = True) -> dict[str, Any]:
    return {
        "method": method,
        "size_ratio": 3.9,
        "speedup": 2.1,
        "metric": METRIC,
        "layers": {"int8-dynamic": 5},
        "passed": passed,
        "reasons": [] if passed else ["cosine falls by 0.02"],
        "is_on_front": passed,
    }


def found(**fields: Any) -> dict[str, Any]:
    return {
        **candidate("mixed-4"),
        "output": "small.onnx",
        "forced": False,
        "digest": "sha256:0",
        "size_bytes": 1000,
        "latency": LATENCY,
        "notes": ["a <note>"],
        "plan": {"encoder/<layer>": "int8-weights"},
        "candidates": [candidate("int8-dynamic", passed=False), candidate("mixed-4")],
        "search": {"ranked_on_rows": 16, "sensitivities": [{"layer": "encoder/dense", "damage": 0.01}]},
        **fields,
    }


WORST = [{"number": 7, "error": 0.5, "inputs": {"text": "<b>bad</b>"}}]


def test_everything_measured_is_on_the_page() -> None:
    page = render_quantization("fraud:1", found(), 0.003, [0.001, 0.002, 0.5], WORST)

    for text in ("fraud:1 as mixed-4", "refused: cosine falls by 0.02", "encoder/dense", "Worst rows", "limit 0.003"):
        assert text in page
    assert page.count("<circle") == 3  # two candidates, and the point of the interval
    assert "a &lt;note&gt;" in page
    assert "&lt;b&gt;bad&lt;/b&gt;" in page
    assert "encoder/&lt;layer&gt;" in page


def test_the_page_asks_no_network_and_runs_no_script() -> None:
    page = render_quantization("fraud:1", found(), 0.003, [0.1], WORST)

    assert re.findall(r"(?:src|href)=|<script|@import|url\(", page) == []


def test_a_method_that_was_named_stands_alone() -> None:
    document = {key: value for key, value in found().items() if key not in ("candidates", "search")}

    page = render_quantization("m.onnx", document, 0.003, [], [])

    assert "Sensitivity" not in page
    assert "Worst rows" not in page


def test_a_model_that_was_never_made_has_a_page_of_its_reasons() -> None:
    nothing = found(output=None, metric=None, passed=False, reasons=["trees"], latency=[], plan={}, candidates=[])

    page = render_quantization("m.onnx", nothing, 0.01, [], [])

    assert "trees" in page
    assert "nothing was written" in page


@pytest.mark.parametrize("errors", [[math.inf], [0.0, 0.0], [0.0, 0.1, math.inf]])
def test_rows_that_did_not_move_or_moved_beyond_measure_are_no_trouble(errors: list[float]) -> None:
    assert "</html>" in render_quantization("m.onnx", found(), 0.01, errors, [])


def test_points_stand_where_their_values_say() -> None:
    lines = scatter([Point("a", 1, 0), Point("b", 2, 1), Point("c", 3, 0)], x="speed", y="drop", width=21, height=3)

    assert lines[0] == "drop"
    assert lines[1].index(MARKS[1]) - lines[1].index("│") == 11
    assert lines[3].index(MARKS[0]) < lines[3].index(MARKS[2])
    assert scatter([], x="speed", y="drop") == []


def test_points_in_one_place_are_drawn_all_the_same() -> None:
    assert plane([Spot("a", 1, 1), Spot("b", 1, 1)], "t", x="x", y="y").count("<circle") == 2
    assert MARKS[0] in "".join(scatter([Point("a", 1, 1), Point("b", 1, 1)], x="x", y="y"))
