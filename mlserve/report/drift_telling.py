"""A drift check told to machines that watch: JUnit cases, GitHub's annotations and step summary, Prometheus' textfile.

Pure texts of the document of ``mlserve drift check --json``; where they go is the caller's business.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from mlserve.report.figures import number
from mlserve.report.junit import JunitCase

Document = Mapping[str, Any]
Part = Mapping[str, Any]

VERDICTS = ("ok", "warn", "critical", "performance", "insufficient", "stale")
ERRORS = frozenset({"critical", "performance"})
_WORST_SHOWN = 20


def junit_of(document: Document) -> list[JunitCase]:
    """A case for the verdict, and one for each check of each layer; drift fails, the untested is skipped."""
    group = f"drift.{document.get('ref') or 'model'}"
    verdict = str(document.get("verdict"))
    reasons = "; ".join(map(str, document.get("reasons") or [])) or verdict
    outcome = "passed" if verdict == "ok" else "skipped" if verdict in ("insufficient", "stale") else "failed"
    cases = [JunitCase(group, "verdict", outcome, reasons, 0.0)]  # type: ignore[arg-type]  # one of the three words
    for layer, part in _parts(document):
        name = " ".join(str(word) for word in (part.get("name"), part.get("test")) if word) or layer
        tested = part.get("test") and (part.get("statistic") is not None or part.get("effect") is not None)
        went = "failed" if part.get("drift") else "passed" if tested else "skipped"
        cases.append(JunitCase(f"{group}.{layer}", name, went, _told(part), 0.0))  # type: ignore[arg-type]
    return cases


def annotations_of(document: Document) -> list[str]:
    """Lines that GitHub shows beside a workflow's run: one for the verdict, one for each thing that drifts.

    Source: GitHub, Workflow commands for GitHub Actions.

    >>> annotations_of({"ref": "m:1", "verdict": "warn", "reasons": ["age: 5 % null"]})
    ['::warning title=Drift of m%3A1::warn: age: 5 %25 null']
    """
    verdict = str(document.get("verdict"))
    if verdict == "ok":
        return []
    level = "error" if verdict in ERRORS else "warning"
    title = f"Drift of {document.get('ref') or 'a model'}"
    reasons = "; ".join(map(str, document.get("reasons") or []))
    lines = [_annotation(level, title, f"{verdict}: {reasons}" if reasons else verdict)]
    for layer, part in _drifting(document):
        severity = "error" if part.get("severity") == "critical" else "warning"
        lines.append(_annotation(severity, f"{title}, {layer}", f"{part.get('name') or 'all rows'}: {_told(part)}"))
    return lines


def step_summary(document: Document) -> str:
    """Markdown for a job's summary page: the verdict, why, and a table of what drifts."""
    lines = [f"### Drift of {_plain(document.get('ref') or 'a model')}: **{_plain(document.get('verdict'))}**", ""]
    lines += [f"- {_plain(reason)}" for reason in document.get("reasons") or []]
    drifting = list(_drifting(document))[:_WORST_SHOWN]
    if drifting:
        lines += ["", "| layer | what | test | effect | limit | severity |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {layer} | {_plain(part.get('name') or 'all rows')} | {_plain(part.get('test') or '')} "
            f"| {number(part.get('effect'))} | {number(part.get('threshold'))} | {_plain(part.get('severity') or '')} |"
            for layer, part in drifting
        ]
    return "\n".join(lines) + "\n"


def textfile_of(document: Document, *, ended_at: datetime) -> str:
    """Gauges for the textfile collector of Prometheus' node exporter; the last one is a dead man's switch.

    ``ended_at`` is when this check ended. Source: Prometheus, Exposition formats.
    """
    model = _label(str(document.get("ref") or "").partition(":")[0])
    version = _label(str(document.get("ref") or "").partition(":")[2])
    own = f'model="{model}",version="{version}"'
    lines = [
        "# HELP mlserve_drift_verdict Whether the last check came to this verdict.",
        "# TYPE mlserve_drift_verdict gauge",
    ]
    lines += [
        f'mlserve_drift_verdict{{{own},verdict="{one}"}} {int(one == document.get("verdict"))}' for one in VERDICTS
    ]
    rows = (document.get("window") or {}).get("rows")
    lines += _family("mlserve_drift_window_rows", "Rows of the last window.", [(own, rows)])
    by_feature = {str(part.get("name")): part for part in document.get("features") or []}
    for key, what in (
        ("effect", "How far the feature moved, in its test's unit."),
        ("threshold", "What its effect must reach to count."),
        ("drift", "Whether the feature drifts."),
    ):
        points = [(f'{own},feature="{_label(name)}"', part.get(key)) for name, part in by_feature.items()]
        lines += _family(f"mlserve_drift_feature_{key}", what, points)
    lines += _family(
        "mlserve_drift_last_success_timestamp_seconds",
        "When the last check ended that came to a verdict.",
        [(own, ended_at.timestamp())],
    )
    return "\n".join(lines) + "\n"


def _family(name: str, what: str, points: Sequence[tuple[str, Any]]) -> list[str]:
    told = [f"{name}{{{labels}}} {_number(value)}" for labels, value in points if _is_number(value)]
    return [f"# HELP {name} {what}", f"# TYPE {name} gauge", *told] if told else []


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float))


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(float(value))


def _parts(document: Document) -> Iterator[tuple[str, Part]]:
    prediction, performance = document.get("prediction") or {}, document.get("performance") or {}
    for layer, parts in (
        ("quality", document.get("quality")),
        ("feature", document.get("features")),
        ("multivariate", document.get("multivariate")),
        ("prediction", prediction.get("tests")),
        ("concept", performance.get("tests")),
        ("embedding", document.get("embedding")),
    ):
        yield from ((layer, part) for part in parts or [])


def _drifting(document: Document) -> Iterator[tuple[str, Part]]:
    return ((layer, part) for layer, part in _parts(document) if part.get("drift"))


def _told(part: Part) -> str:
    detail = str(part.get("detail") or "")
    if part.get("effect") is None:
        return detail or "nothing to test"
    measured = f"{part.get('test') or 'effect'} {number(part['effect'])} of {number(part.get('threshold'))}"
    return f"{measured}; {detail}" if detail else measured


def _annotation(level: str, title: str, message: str) -> str:
    named = _escaped(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={named}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _plain(value: Any) -> str:
    """Text that neither ends a table's cell nor begins a tag."""
    text = " ".join(str(value).split())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
