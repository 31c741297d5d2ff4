"""``mlserve outcome``: what turned out to be true, told to captured requests."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from mlserve.cli.options import ConfigFile, JsonFlag, LabelRole, Name, QuietFlag, RegistryUrl
from mlserve.cli.output import Output


def outcome(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Request ids and labels: .parquet, .csv or .jsonl.")],
    capture: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The capture's folder; else serve.capture, else where servers say that they capture."
        ),
    ] = None,
    label: LabelRole = "label",
    id_: Annotated[
        str | None, typer.Option("--id", metavar="NAME", help="The column of request ids; default request_id, or id.")
    ] = None,
    row: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The column that says which row of a request, from 0; default row."),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The column that says when the truth became known; default time."),
    ] = None,
    horizon: Annotated[
        str | None,
        typer.Option(metavar="7d", help="Count those as late that became known later than this after their request."),
    ] = None,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Join ground truth to captured requests by request id.

    The same file again changes nothing; another label for the same request replaces the one before.
    """
    from mlserve.core.durations import parse_duration
    from mlserve.rows.outcome_rows import Columns
    from mlserve.wiring.outcomes import find_capture, record_file

    out = Output.for_flags(json=as_json, quiet=quiet)
    horizon_s = None if horizon is None else parse_duration(horizon, "--horizon")
    found = find_capture(name, capture, config_file=config, registry=registry)
    with out.progress() as progress:
        counted = record_file(
            name,
            file,
            capture=found.folder,
            columns=Columns(id_, label, row or "row", time or "time"),
            horizon_s=horizon_s,
            progress=progress,
        )
    said = [
        f"{count} {what}"
        for count, what in (
            (counted.duplicate, "known already"),
            (counted.corrected, "corrected"),
            (counted.unmatched, "without a captured request"),
        )
        if count
    ]
    out.result(
        f"{counted.joined} of {counted.outcomes} outcomes joined to requests in {found.folder}"
        + (f"; {', '.join(said)}" if said else ""),
        asdict(counted) | {"capture": found.folder},
        made=str(found.folder),
    )
    if counted.unmatched:
        out.hint("those without a request are kept, and join when it is captured")
    if counted.spread:
        out.warn(f"{counted.spread} have one label for a request of several rows: it is taken for each of them")
    if counted.late:
        out.warn(f"{counted.late} became known later than {horizon} after their request")
    if found.others and capture is None:
        others = ", ".join(str(other.parent) for other in found.others)
        out.warn(f"requests were captured in {others} too: --capture DIR names one of them")
