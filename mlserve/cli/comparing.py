"""A comparison on traffic as a terminal shows it: the verdict, the figures of all candidates, where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlserve.cli.output import Output

Document = Mapping[str, Any]

MOST_RULES = 3


def tell_comparison(out: Output, documents: Sequence[Document], made: Sequence[str] = ()) -> None:
    """Give ``documents``, the answers about one candidate each, through ``out``.

    One alone is the document of --json, several are a list. ``made`` are files that were written, for --quiet.
    """
    good = all(document["passed"] for document in documents)
    document = documents[0] if len(documents) == 1 else list(documents)
    out.result(_sentence(documents), document, made="\n".join(made) or None, good=good)
    refs = [str(document["ref"]) for document in documents]
    out.details(["figure", "baseline", *refs], list(_figures(documents, refs, with_pictures=out.is_live)))
    out.details(["fails if", *refs], list(_checks(documents, refs)))
    for document in documents:
        for line in _remarks(document, with_ref=len(documents) > 1):
            out.detail(line)


def _sentence(documents: Sequence[Document]) -> str:
    first = documents[0]
    from mlserve.report.figures import share

    baseline = first.get("baseline") or "recorded"
    against = "what was recorded" if baseline == "recorded" else baseline
    if len(documents) > 1:
        verdicts = ", ".join(f"{document['ref']} {_verdict(document)}" for document in documents)
        return f"{first['rows']} rows against {against}: {verdicts}"
    same = f"{share(first['identical'] / first['rows'])} identical" if first["rows"] else "nothing to compare"
    agreement = "" if first.get("agreement") is None else f", agreement {share(first['agreement'])}"
    return f"{first['ref']} {_verdict(first)}: {first['rows']} rows against {against}, {same}{agreement}"


def _verdict(document: Document) -> str:
    return "failed" if not document["passed"] else "passed" if document.get("checks") else "compared"


def _figures(documents: Sequence[Document], refs: Sequence[str], *, with_pictures: bool) -> Iterator[dict[str, Any]]:
    from mlserve.report.headline import headline
    from mlserve.report.sparks import sparks

    for line in headline(documents):
        yield {"figure": line.name, "baseline": line.before or None, **dict(zip(refs, line.after, strict=True))}
    for row in sparks(documents) if with_pictures else []:
        name = f"{row.name}, {row.low} to {row.high}"
        yield {"figure": name, "baseline": row.before, **dict(zip(refs, row.after, strict=True))}


def _checks(documents: Sequence[Document], refs: Sequence[str]) -> Iterator[dict[str, Any]]:
    by_side = [{check["expression"]: check for check in document.get("checks") or []} for document in documents]
    for expression in dict.fromkeys(expression for checks in by_side for expression in checks):
        verdicts = {ref: _shown(checks.get(expression)) for ref, checks in zip(refs, by_side, strict=True)}
        yield {"fails if": expression, **verdicts}


def _shown(check: Document | None) -> str | None:
    from mlserve.report.figures import number

    if check is None:
        return None
    value = "not measured" if check["value"] is None else number(check["value"])
    return f"{'✓' if check['passed'] else '✗'} {value}"


def _remarks(document: Document, *, with_ref: bool) -> Iterator[str]:
    """Where a candidate differs, whether that is more than noise, and what was not looked at."""
    from mlserve.report.figures import number, share

    start = f"{document['ref']}: " if with_ref else ""
    explanation = document.get("explanation") or {}
    rules = sorted(explanation.get("rules") or [], key=lambda rule: -(rule.get("share") or 0.0))
    for rule in [rule for rule in rules if rule["share"]][:MOST_RULES]:
        yield f"{start}{share(rule['share'])} of {number(rule['rows'])} rows differ where {rule['where']}"
    noise = document.get("noise") or {}
    if noise and document.get("identical") != document.get("rows"):
        more = "more" if noise.get("difference_beyond_noise") else "no more"
        yield f"{start}the difference is {more} than noise ({noise['how']})"
    coverage = document.get("coverage") or {}
    reasons = [f"{reason} × {number(count)}" for reason, count in (coverage.get("left_out") or {}).items() if count]
    reasons += [f"failed × {number(coverage['failed'])}"] if coverage.get("failed") else []
    if reasons:
        yield f"{start}left out: {', '.join(reasons)}"
