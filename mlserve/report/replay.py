"""The page of a comparison on traffic: candidates beside each other, verdict first, then what it rests on.

answer documents (one a candidate) ──► one set of pictures that all share, and a column each for what is its own

Written for replay; live shadow has the same parts and may leave out what it has not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlserve.report.charts import distribution
from mlserve.report.confusion import heat_map
from mlserve.report.differences import judged_difference
from mlserve.report.figures import number
from mlserve.report.headline import Line as Figure
from mlserve.report.headline import headline, spoken
from mlserve.report.overlays import Line, bulk, density, overlay
from mlserve.report.page import render_page

TEMPLATE = "replay.html.j2"
WIDTH = 400
"""Of a picture: half a wide page, and legible on a telephone."""

SHOWN_ROWS = 8
"""Worst rows that stand open; the others unfold."""

SHOWN_SLICES = 10

MOST_ULP = 1_000_000
"""Beyond it a distance in units in the last place says nothing that the relative one does not."""

LEAST_SHARE = 0.002
"""Of all rows: a bin of calibration with fewer is not drawn."""

_SHOWN_VALUES, _SHOWN_CHARS = 8, 240

Document = Mapping[str, Any]


def render_replay(documents: Sequence[Document], title: str | None = None) -> str:
    """The page for ``documents``, the answers of ``mlserve replay --json``, one or more candidates on one capture.

    Whatever a document lacks is left out; every text is escaped. Raises MissingExtra where jinja2 is not installed.
    """
    documents = [_timed(document) for document in _with_short_names(documents)]
    first = documents[0]
    refs = [str(document.get("ref", "candidate")) for document in documents]
    baseline = str(first.get("baseline") or "recorded")
    passed = [document.get("passed") for document in documents]
    values = {
        "title": title or f"{', '.join(refs)} against {_spoken_baseline(baseline)}",
        "first": first,
        "baseline": _as_named(baseline),
        "sides": [_side(document, _colour(place)) for place, document in enumerate(documents)],
        "all_passed": all(passed) if None not in passed else None,
        "checks": _checks(documents),
        "headline": _grouped(headline(documents)),
        "latency": _latency(documents, baseline),
        "scores": _scores(documents),
        "calibration": _calibration(documents),
        "setting": _setting(first),
        "least_share": LEAST_SHARE,
        "has": {part: any(document.get(part) for document in documents) for part in _PARTS},
    }
    return render_page(TEMPLATE, values)


_PARTS = (
    "calibration", "coverage", "decisions", "distribution", "explanation", "failures", "lag", "latency", "noise",
    "outputs", "quality", "ranking", "worst",
)  # fmt: skip


def _with_short_names(documents: Sequence[Document]) -> list[Document]:
    """``documents``, files named without their folders, which do not fit above a column, if that tells them apart."""
    refs = [str(document.get("ref", "candidate")) for document in documents]
    short = [ref if "://" in ref else ref.rsplit("/", 1)[-1] for ref in refs]
    if len(set(short)) < len(set(refs)):
        return list(documents)
    return [{**document, "ref": name} for document, name in zip(documents, short, strict=True)]


def _timed(document: Document) -> Document:
    """``document`` with the times of both under replay's names; a live shadow's are of the champion and the shadow."""
    latency = document.get("latency") or {}
    if "champion" not in latency:
        return document
    replayed = latency.get("shadow") or {}
    return {**document, "latency": {**replayed, "recorded": latency["champion"], "replayed": replayed}}


def _grouped(lines: Sequence[Figure]) -> list[tuple[str, list[Figure]]]:
    groups: dict[str, list[Figure]] = {}
    for line in lines:
        groups.setdefault(line.group, []).append(line)
    return list(groups.items())


def _spoken_baseline(baseline: str) -> str:
    return "what was recorded" if baseline == "recorded" else baseline


def _as_named(baseline: str) -> str:
    return "as recorded" if baseline == "recorded" else baseline


def _colour(place: int) -> int:
    """Of a candidate by its place; 0 is the baseline's. There are five, and then the first again."""
    return 1 + place % 5


def _side(document: Document, number: int) -> dict[str, Any]:
    """What a candidate has for itself; ``number`` is the colour of its curves."""
    decisions = document.get("decisions") or {}
    confusion = decisions.get("confusion")
    worst = [_row(row) for row in document.get("worst") or []]
    return {
        "document": document,
        "ref": document.get("ref", "candidate"),
        "number": number,
        "failed": [check for check in document.get("checks") or [] if not check["passed"]],
        "outputs": [_output(output, document.get("rows") or 0) for output in document.get("outputs") or []],
        "decisions": decisions,
        "confusion": heat_map(confusion["labels"], confusion["counts"]) if confusion else None,
        "quality": [
            judged_difference(item) | {"name": spoken(item["metric"])} for item in document.get("quality") or []
        ],
        "ranking": _ranking(document),
        "explanation": _explanation(document),
        "worst": worst[:SHOWN_ROWS],
        "further": worst[SHOWN_ROWS:],
        "coverage": document.get("coverage") or {},
    }


def _checks(documents: Sequence[Document]) -> list[tuple[str, list[Document | None]]]:
    """Each expression with the check of it that every candidate has."""
    by_side = [{check["expression"]: check for check in document.get("checks") or []} for document in documents]
    expressions = dict.fromkeys(expression for checks in by_side for expression in checks)
    return [(expression, [checks.get(expression) for checks in by_side]) for expression in expressions]


def _output(output: Document, rows: int) -> dict[str, Any]:
    """An output with its rows as shares: bit-equal, equal within tolerance, beyond."""
    identical, within = output.get("identical") or 0, output.get("within_tolerance") or 0
    shares = (
        {
            "identical": identical / rows,
            "close": max(within - identical, 0) / rows,
            "beyond": max(rows - max(within, identical), 0) / rows,
        }
        if rows
        else None
    )
    ulp = output.get("max_ulp")
    far = ulp is not None and ulp > MOST_ULP
    ulps = f"> {number(MOST_ULP)}" if far else number(ulp)
    return {**output, "ulps": ulps, "shares": shares, "tolerance": _tolerance(output.get("tolerance") or {})}


def _tolerance(tolerance: Document) -> dict[str, str]:
    bounds = [f"{name} {tolerance[name]:.3g}" for name in ("atol", "rtol", "ulp") if tolerance.get(name) is not None]
    return {"bounds": ", ".join(bounds), "why": str(tolerance.get("why") or "")}


def _explanation(document: Document) -> dict[str, Any]:
    found = document.get("explanation") or {}
    slices = sorted(found.get("slices") or [], key=lambda item: -(item.get("share") or 0.0))
    largest = max((item.get("share") or 0.0 for item in slices), default=0.0) or 1.0
    drawn = [{**item, "length": (item.get("share") or 0.0) / largest} for item in slices]
    return {
        "note": found.get("note"),
        "rules": sorted(found.get("rules") or [], key=lambda item: -(item.get("share") or 0.0)),
        "slices": drawn[:SHOWN_SLICES],
        "further": drawn[SHOWN_SLICES:],
    }


def _latency(documents: Sequence[Document], baseline: str) -> str:
    """The distributions of what was recorded and of each candidate, in one picture."""
    found = [(document, document.get("latency") or {}) for document in documents]
    recorded = next((item["recorded"] for _, item in found if item.get("recorded")), None)
    curves = [(_as_named(baseline), _curve(recorded))] + [
        (str(document.get("ref", "candidate")), _curve(item.get("replayed"))) for document, item in found
    ]
    if not any(curve for _, curve in curves):
        return ""
    # A curve that is empty keeps its place: its colour is that of its candidate.
    return distribution(curves, "latency: the share of requests within a time", width=WIDTH)


def _curve(latency: Document | None) -> list[tuple[float, float]]:
    return [(float(value), float(share)) for value, share in (latency or {}).get("curve") or []]


def _scores(documents: Sequence[Document]) -> dict[str, str]:
    """The baseline's scores and those of each candidate: how many about each value, and up to each value."""
    found = [document.get("distribution") or {} for document in documents]
    curves: list[tuple[int, Any]] = [
        (_colour(place), (item.get("curves") or {}).get("actual")) for place, item in enumerate(found)
    ]
    expected = next((item["curves"]["expected"] for item in found if (item.get("curves") or {}).get("expected")), None)
    drawn = [(n, [(float(x), float(s)) for x, s in curve]) for n, curve in [(0, expected), *curves] if curve]
    if not drawn:
        return {}
    low, high = bulk([curve for _, curve in drawn])
    name = str(next((item["output"] for item in found if item.get("output")), "score"))
    shapes = [Line(density(curve, low, high), n, is_filled=True) for n, curve in drawn]
    sums = [Line([point for point in curve if low <= point[0] <= high], n) for n, curve in drawn]
    return {
        "density": overlay(shapes, "scores of both: how many about each value", x=name, y="density"),
        "share": overlay(sums, "scores of both: the share up to each value", x=name, y="share of rows"),
    }


def _calibration(documents: Sequence[Document]) -> str:
    """How often what was predicted with a probability came true, for the baseline and each candidate."""
    found = [document.get("calibration") or {} for document in documents]
    before: list[Document] = next((item["before"] for item in found if item.get("before")), [])
    curves = [(0, before), *((_colour(place), item.get("after") or []) for place, item in enumerate(found))]
    lines = [Line(_reliability(curve), n, has_dots=True) for n, curve in curves]
    return overlay(lines, "calibration", x="predicted probability", y="share that came true", diagonal=True)


def _ranking(document: Document) -> dict[str, Any]:
    """What ranking shows: figures of both with their intervals, and those of the two together."""
    found = document.get("ranking") or {}
    names = {"ndcg": f"NDCG@{found.get('k', 10)}", "mrr": spoken("mrr")}
    pairs = [
        judged_difference({**found[key], "higher_is_better": True}) | {"name": name}
        for key, name in names.items()
        if isinstance(found.get(key), Mapping)
    ]
    alike = {spoken(name): found.get(name) for name in ("kendall_tau_b", "rbo")}
    return {
        "pairs": pairs,
        "alike": {name: value for name, value in alike.items() if isinstance(value, Mapping)},
        "groups": found.get("groups"),
        "is_on_labels": found.get("gain") == "labels",
    }


def _reliability(bins: Sequence[Document]) -> list[tuple[float, float]]:
    """Those of ``bins`` that have enough rows to say something."""
    least = LEAST_SHARE * sum(item.get("rows") or 0 for item in bins)
    return [
        (item["predicted"], item["observed"])
        for item in bins
        if _is_number(item["observed"]) and (item.get("rows") or 0) >= least
    ]


def _setting(first: Document) -> list[tuple[str, str]]:
    """What was compared with what, and how it was run."""
    words = {
        "capture": first.get("capture"),
        "data": first.get("data_digest"),
        "baseline": _spoken_baseline(str(first.get("baseline") or "recorded")),
        "run": first.get("target"),
        "speed": first.get("speed"),
        "batches": first.get("batches"),
        "started": first.get("started_at"),
        "ended": first.get("ended_at"),
    }
    return [(name, str(value)) for name, value in words.items() if value]


def _row(row: Document) -> dict[str, Any]:
    return {
        **row,
        "inputs": {name: _brief(value) for name, value in (row.get("inputs") or {}).items()},
        "expected": {name: _brief(value) for name, value in (row.get("expected") or {}).items()},
        "actual": {name: _brief(value) for name, value in (row.get("actual") or {}).items()},
    }


def _brief(value: Any) -> str:
    """A value of a row in a line: the first numbers of many, the beginning of a long text."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        shown = ", ".join(_brief(item) for item in value[:_SHOWN_VALUES])
        rest = len(value) - _SHOWN_VALUES
        return f"{shown}, … ({len(value)} values)" if rest > 0 else shown
    text = number(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
