"""``mlserve conform``: does a server keep the Open Inference Protocol?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlserve.cli.options import ApiKeyFile, JsonFlag, QuietFlag
from mlserve.cli.output import Output

if TYPE_CHECKING:
    from mlserve.bench.conformance.running import Conformance


def conform(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="A server's URL (http://HOST:PORT), or that of one of its models.")
    ],
    grpc: Annotated[
        str | None,
        typer.Option("--grpc", metavar="HOST:PORT", help="Its gRPC port; without it only HTTP is looked at."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Ask these models; default all that answer made-up rows. Repeatable."),
    ] = None,
    request: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="An inference request that the model takes, in place of made-up rows."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE", help="Look at these rules or subjects, such as 'binary.*' or grpc. Repeatable."),
    ] = None,
    manage: Annotated[
        bool, typer.Option("--manage", help="Look at loading and unloading too: takes a model out for a moment.")
    ] = False,
    require: Annotated[
        Literal["must", "should"] | None,
        typer.Option(help="What exit 7 is for: broken rules of must and extension, or (default) of should as well."),
    ] = None,
    api_key_file: ApiKeyFile = None,
    ca: Annotated[
        Path | None, typer.Option("--ca", metavar="FILE", help="The authority of the server's certificate (PEM).")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE.xml", help="Write the cases as JUnit XML too.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write the cases as one HTML file too.")
    ] = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Check any server against the Open Inference Protocol.

    Asks as a client would, over HTTP and gRPC, and names each rule that the server breaks; broken ones: exit 7.
    """
    from mlserve.bench.conformance.verdicts import Level
    from mlserve.core.files import check_writable
    from mlserve.report.page import check_available
    from mlserve.wiring.conforming import Asked, conform_server, write_junit, write_page

    out = Output.for_flags(json=as_json, quiet=quiet)
    if report is not None:
        check_available()
    for file in filter(None, (report, junit)):
        check_writable(file)
    asked = Asked(model or (), grpc, request, only or (), manage, api_key_file, ca)
    with out.progress() as progress:
        found = conform_server(url, asked, progress)
    if report is not None:
        write_page(found, report)
    if junit is not None:
        write_junit(found, junit)
    levels = (Level.MUST, Level.EXTENSION) if require == "must" else tuple(Level)
    failures = found.failures(*levels)
    _tell(out, found, good=not failures, made=[str(file) for file in (report, junit) if file is not None])
    if not found.models:
        out.warn(
            "no model was found that answers made-up rows, so little was looked at: --model NAME, --request FILE.json"
        )
    if failures:
        raise typer.Exit(7)


def _tell(out: Output, found: Conformance, *, good: bool, made: list[str]) -> None:
    document = found.to_dict()
    counts = f"{document['passed']} rules kept, {document['failed']} broken, {document['skipped']} not looked at"
    out.result(f"{found.server} at {found.url}: {counts}", document, made="\n".join(made) or None, good=good)
    out.details(["subject", "kept", "broken", "not looked at"], list(_by_subject(document["cases"])))
    broken = [
        {"broken rule": case["name"], "level": case["level"], "seen": case["detail"]}
        for case in document["cases"]
        if case["outcome"] == "failed"
    ]
    out.details(["broken rule", "level", "seen"], broken)


def _by_subject(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    columns = {"passed": "kept", "failed": "broken", "skipped": "not looked at"}
    for case in cases:
        subject = case["name"].partition(".")[0]
        row = rows.setdefault(subject, {"subject": subject, "kept": 0, "broken": 0, "not looked at": 0})
        row[columns[case["outcome"]]] += 1
    return list(rows.values())
