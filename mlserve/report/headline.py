"""The figures of a comparison that people read first, candidates beside each other, for a page and for a terminal.

answers (one a candidate) ──► Line("how good", "NDCG@10", "0.472", ("0.541", "0.466")) …
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlserve.report.figures import number, share

Document = Mapping[str, Any]

_WORDS = {
    "kendall_tau_b": "Kendall's τ-b", "mrr": "MRR", "rbo": "rank-biased overlap", "ks": "Kolmogorov–Smirnov",
    "wasserstein": "Wasserstein", "psi": "PSI", "js": "Jensen–Shannon", "auc": "AUC", "log_loss": "log loss",
    "brier": "Brier score", "rmse": "RMSE", "mae": "MAE", "r2": "R²", "p50_ms": "p50 ms", "p90_ms": "p90 ms",
    "p99_ms": "p99 ms", "ece": "calibration error",
}  # fmt: skip
SAME, GOOD, APART, FAST = "how much is the same", "how good", "how far apart", "how fast"
"""The groups, in the order that they are shown."""

_RANKING = ("mrr", "kendall_tau_b", "rbo")
_DISTANCES = ("ks", "wasserstein", "psi", "js")


@dataclass(frozen=True, slots=True)
class Line:
    """A figure by its name, in a group: what the baseline has (empty where it has none), what each candidate has."""

    group: str
    name: str
    before: str
    after: tuple[str, ...]


def headline(documents: Sequence[Document]) -> list[Line]:
    """The lines that any of ``documents``, one a candidate, has a value for; a dash where one has none."""
    return [line for line in _lines(documents) if line.before or any(value != "–" for value in line.after)]


def spoken(name: str) -> str:
    """A figure's name as people say it.

    >>> spoken("log_loss"), spoken("ndcg@10"), spoken("top5_agreement")
    ('log loss', 'NDCG@10', 'top5 agreement')
    """
    return _WORDS.get(name) or name.replace("ndcg", "NDCG").replace("_", " ")


def _lines(documents: Sequence[Document]) -> Iterator[Line]:
    yield _line(SAME, "requests", [number(document.get("requests")) for document in documents])
    yield _line(SAME, "rows", [number(document.get("rows")) for document in documents])
    yield _line(SAME, "identical", [_of_rows(document, "identical") for document in documents])
    yield _line(SAME, "within tolerance", [_of_rows(document, "within_tolerance") for document in documents])
    yield _line(SAME, "agreement", [share(document.get("agreement")) for document in documents])
    metrics = [document.get("metrics") or {} for document in documents]
    for name in dict.fromkeys(name for item in metrics for name in item if f"{name}_before" in item):
        before = next((item[f"{name}_before"] for item in metrics if item.get(f"{name}_before") is not None), None)
        yield _line(GOOD, spoken(name), [number(item.get(name)) for item in metrics], before)
    for name in dict.fromkeys(name for item in metrics for name in item if _stands_alone(name, item)):
        yield _line(APART, spoken(name), [number(item.get(name)) for item in metrics])
    latencies = [document.get("latency") or {} for document in documents]
    recorded: Document = next((item["recorded"] for item in latencies if item.get("recorded")), {})
    for name in ("p50_ms", "p90_ms", "p99_ms"):
        yield _line(FAST, spoken(name), [number(item.get(name)) for item in latencies], recorded.get(name))
    rates = [(document.get("throughput") or {}).get("rows_per_s") for document in documents]
    yield _line(FAST, "rows a second", [number(None if rate is None else round(rate)) for rate in rates])


def _line(group: str, name: str, after: Sequence[str], before: Any = None) -> Line:
    return Line(group, name, "" if before is None else number(before), tuple(after))


def _of_rows(document: Document, name: str) -> str:
    count, rows = document.get(name), document.get("rows")
    return share(count / rows) if rows and count is not None else "–"


def _stands_alone(name: str, metrics: Document) -> bool:
    """Whether ``name`` is a figure of the two together, such as a distance, and no part of another."""
    known = name in _RANKING or name in _DISTANCES or name.startswith("top")
    return known and f"{name}_before" not in metrics
