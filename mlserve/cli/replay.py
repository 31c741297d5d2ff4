"""``mlserve replay``: recorded traffic through another version, compared with what was answered."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from mlserve.cli.comparing import tell_comparison
from mlserve.cli.completing import complete_ref
from mlserve.cli.failing import Interrupted
from mlserve.cli.options import ApiKeyFile, ConfigFile, JsonFlag, QuietFlag, RegistryUrl
from mlserve.cli.output import Output
from mlserve.core.settings import Device
from mlserve.errors import UsageError

NO, TOO_LITTLE = 7, 20


def replay(
    capture: Annotated[
        Path, typer.Argument(metavar="CAPTURE", help="A capture's folder of one model, or a file of it.")
    ],
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REF",
            help="What answers: a ref or an .onnx file, several in one pass; or one server's URL.",
            autocompletion=complete_ref,
        ),
    ] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="The same as --against URL.")] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="REF|recorded", help="What is compared with: what was recorded, or a version run beside."),
    ] = None,
    speed: Annotated[
        str | None, typer.Option(metavar="original|2x|max", help="When requests are due again; default max.")
    ] = None,
    batches: Annotated[
        Literal["recorded", "fresh"] | None,
        typer.Option(help="The runs as they were, or filled up anew; default recorded, for a server fresh."),
    ] = None,
    atol: Annotated[
        float | None, typer.Option(metavar="X", min=0, help="Absolute tolerance; else by precision.")
    ] = None,
    rtol: Annotated[
        float | None, typer.Option(metavar="X", min=0, help="Relative tolerance; else by precision.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="M", help="A figure to put first, such as ndcg@10, which also sets the 10.")
    ] = None,
    outcomes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Labels by request id; else those that lie beside the capture."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="An input whose equal values are ranked together, or a column of it, x[3]."),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(metavar="EXPR", help="A condition that is a failure, such as 'agreement<0.99'; several at will."),
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write what was found as one page.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE.xml", help="Write the conditions as JUnit cases.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the same replay where it was interrupted.")
    ] = False,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most this many requests.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Requests from then on: 2026-11-27T05:00Z, or 24h ago as 24h.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Requests before then, given as --since.")] = None,
    of: Annotated[
        int | None, typer.Option("--of", metavar="N", min=1, help="What this version answered alone.")
    ] = None,
    connections: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Requests that may be under way at a server; default 256.")
    ] = None,
    device: Annotated[Device | None, typer.Option(help="Where refs and files are run; default auto.")] = None,
    api_key_file: ApiKeyFile = None,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Replay captured requests through another version and compare its answers row by row.

    Exit 7 where a --fail-on condition holds, or no request could be answered; 20 where there was none to replay.
    """
    from mlserve import wiring
    from mlserve.core.files import check_writable
    from mlserve.wiring import replaying
    from mlserve.wiring.replaying_asked import RECORDED, Asked
    from mlserve.wiring.replaying_kept import write_junit, write_report

    out = Output.for_flags(json=as_json, quiet=quiet)
    targets = [*(against or ()), *([url] if url else ())]
    if not targets:
        raise UsageError("nothing to replay through", hint="--against fraud:3, a file, or a server's URL")
    if report is not None:
        from mlserve.wiring.benching import check_report

        check_report(report)
    if junit is not None:
        check_writable(junit)
    now = wiring.now()
    asked = Asked(
        capture,
        targets,
        baseline or RECORDED,
        speed or "max",
        batches,
        atol,
        rtol,
        metric,
        outcomes,
        group,
        fail_on or (),
        resume,
        limit,
        _moment_ns(since, "--since", now),
        _moment_ns(until, "--until", now),
        of,
        connections,
        report,
        api_key_file,
    )
    try:
        with out.progress() as progress:
            found = replaying.replay(
                asked, flags={"serve.device": device, "registry": registry}, config_file=config, progress=progress
            )
    except replaying.Interrupted as error:
        raise Interrupted(
            f"interrupted after {error.requests} requests, which are kept", hint="the same command with --resume"
        ) from None
    documents = found.documents
    if report is not None:
        write_report(documents, report)
    if junit is not None:
        write_junit(documents, junit)
    made = [str(path) for path in (report, junit) if path is not None]
    tell_comparison(out, documents, made)
    for note in found.notes:
        out.warn(note)
    if found.is_empty:
        raise typer.Exit(TOO_LITTLE)
    if not found.passed:
        raise typer.Exit(NO)


def _moment_ns(text: str | None, option: str, now: datetime) -> int | None:
    """A moment in nanoseconds since 1970: ISO 8601 (UTC where it says no zone), or how long ago. Raises UsageError.

    >>> _moment_ns("1970-01-01T00:00:01Z", "--since", datetime.now())
    1000000000
    """
    if text is None:
        return None
    from datetime import UTC

    from mlserve.core.durations import parse_duration

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            ago_s = parse_duration(text, option)
        except UsageError:
            raise UsageError(f"{option} '{text}' is no time", hint=f"{option} 2026-11-27T05:00Z, or 24h") from None
        return int((now.timestamp() - ago_s) * 1e9)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1_000_000) * 1000
