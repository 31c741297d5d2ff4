"""A comparison as cases for a CI system: one a condition, and one a rung of the ladder with what it measured.

Only a condition can fail. A rung that measured is a case that passed, one that had nothing to measure was skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mlserve.compare.naming import PERCENTILES, Document
from mlserve.report.figures import number, share
from mlserve.report.junit import JunitCase

_WHY_NOT = {
    "decisions": "no output decides between labels",
    "ranking": "no group has two rows to rank",
    "distribution": "no output holds scores",
    "quality": "no outcome is joined to these rows",
    "noise": "the noise of the baseline was not measured",
    "latency": "no time was taken",
}


def cases_of(documents: Sequence[Document]) -> list[JunitCase]:
    """The cases of ``documents``, the answers about one candidate each; groups are ``replay.REF``."""
    return [case for document in documents for case in _cases(document)]


def _cases(document: Document) -> Iterator[JunitCase]:
    group = f"replay.{document.get('ref', 'candidate')}"
    for check in document.get("checks") or []:
        value = "could not be measured" if check["value"] is None else f"is {number(check['value'])}"
        detail = f"fails if {check['expression']}: {check['name']} {value}"
        yield JunitCase(group, check["expression"], "passed" if check["passed"] else "failed", detail, 0.0)
    seconds = float((document.get("throughput") or {}).get("seconds") or 0.0)
    yield JunitCase(group, "exactness", *_exactness(document), seconds)
    for rung, why_not in _WHY_NOT.items():
        found = document.get(rung)
        yield JunitCase(group, rung, "passed", _told(rung, found), 0.0) if found else _skipped(group, rung, why_not)


def _skipped(group: str, rung: str, why: str) -> JunitCase:
    return JunitCase(group, rung, "skipped", why, 0.0)


def _exactness(document: Document) -> tuple[Any, str]:
    rows = document.get("rows")
    if not rows:
        return "skipped", "no rows were compared"
    identical, within = document.get("identical") or 0, document.get("within_tolerance") or 0
    return "passed", f"{share(identical / rows)} of {rows} rows identical, {share(within / rows)} within tolerance"


def _told(rung: str, found: Any) -> str:
    """What a rung measured, in a line."""
    match rung:
        case "decisions":
            return f"{found['agree']} of {found['positions']} decided alike"
        case "quality":
            return ", ".join(f"{i['metric']} {number(i['before'])} → {number(i['after'])}" for i in found)
        case "ranking":
            sides = ((name, found.get(name)) for name in ("ndcg", "mrr"))
            return ", ".join(f"{n} {number(i['before'])} → {number(i['after'])}" for n, i in sides if i)
        case "latency":
            return ", ".join(f"{name} {number(found.get(name))}" for name in PERCENTILES)
        case _:
            plain = {name: value for name, value in found.items() if isinstance(value, int | float | str)}
            return ", ".join(f"{name} {number(value)}" for name, value in plain.items() if name != "how")
