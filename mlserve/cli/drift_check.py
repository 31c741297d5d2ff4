"""``mlserve drift check``: whether a window of traffic still looks as the reference did; an answer and an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mlserve.cli.options import ConfigFile, JsonFlag, QuietFlag, Ref, RegistryUrl
from mlserve.cli.output import Output

_SIGNS = {"ok": "no drift", "warn": "drift", "critical": "critical drift", "performance": "worse than at fit"}


def check(
    ref: Ref,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="24h|n=5000|since-last|DATA", help="Which rows: a length of time, a number, or a file; default 24h."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--ref",
            metavar="training|previous|same-hour-last-week",
            help="What they are held against; default training, the reference that was fitted.",
        ),
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(metavar="warn|critical|never", help="The least verdict that is no exit 0; default warn."),
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A detector; may be repeated. Else those of fit, else by type and size."),
    ] = None,
    tap: Annotated[
        str | None,
        typer.Option(metavar="NODE", help="A tensor inside the graph to watch too; of texts and images by itself."),
    ] = None,
    capture: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The capture; else serve.capture, else where servers write it.")
    ] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Write what was found as one page.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE.xml", help="Write each test as a JUnit case.")] = None,
    textfile: Annotated[
        Path | None, typer.Option(metavar="FILE.prom", help="Write gauges for Prometheus' textfile collector.")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="S", min=1, help="Give up after so many seconds; nothing is recorded then.")
    ] = None,
    wait: Annotated[
        float | None, typer.Option(metavar="S", min=0, help="Seconds to wait for a check that is running; else exit 5.")
    ] = None,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Judge a window of traffic: has what a version is asked, or how good it is, changed since it was fitted?

    Exit 0 ok, 10 warn, 11 critical, 12 worse on outcomes, 20 too few rows, 21 no source or nothing new.
    """
    from mlserve import wiring
    from mlserve.core.refs import parse_ref
    from mlserve.core.settings import current_env
    from mlserve.drift.detectors.choosing import check_names
    from mlserve.drift.verdict import exit_of, parse_fail_on
    from mlserve.drift.windows import parse_against, parse_window
    from mlserve.wiring.drift_checking import CheckAsked, check_version
    from mlserve.wiring.drift_reporting import CheckOutputs, told_to_github, write_outputs

    out = Output.for_flags(json=as_json, quiet=quiet)
    least = parse_fail_on(fail_on or "warn")
    asked = CheckAsked(
        parse_window(window or "24h"),
        parse_against(against or "training"),
        capture,
        check_names(detector or ()),
        tap,
        timeout,
        wait or 0.0,
    )
    outputs = CheckOutputs(report, junit, textfile)
    outputs.check()
    with wiring.connect(config, registry=registry) as app, out.progress() as progress:
        answer = check_version(app, parse_ref(ref), asked, registry=registry, config_file=config, progress=progress)
    write_outputs(answer.document, outputs)
    _tell(out, answer.document, is_new=answer.created)
    for line in told_to_github(answer.document, current_env()):
        typer.echo(line, err=True)
    if code := exit_of(answer.document["verdict"], least):
        raise typer.Exit(code)


def _tell(out: Output, document: dict[str, Any], *, is_new: bool) -> None:
    verdict, reasons = document["verdict"], document["reasons"]
    said = _SIGNS.get(verdict, verdict)
    rows = document["window"]["rows"]
    again = "" if is_new else ", as the same window was judged before"
    out.result(
        f"{document['ref']}: {said} in {rows} rows ({verdict}){again}", document, made=verdict, good=verdict == "ok"
    )
    for reason in reasons:
        out.detail(f"  {reason}")
    columns = ("name", "test", "effect", "threshold", "p_value", "drift", "severity")
    shown = [{name: _rounded(one[name]) for name in columns} | _sparks(one) for one in document["features"]]
    out.details((*columns, "before", "now"), shown)


def _sparks(feature: dict[str, Any]) -> dict[str, str]:
    """How the values lay and lie, over one range for both; of categories the shares, those of before in their order."""
    from mlserve.report.overlays import bulk, density
    from mlserve.report.sketch import sparkline

    if feature["curves"] is not None:
        curves = {side: [tuple(point) for point in feature["curves"][side]] for side in ("before", "after")}
        low, high = bulk(list(curves.values()))
        heights = {side: [height for _, height in density(curve, low, high, 10)] for side, curve in curves.items()}
    elif feature["after"] is not None and feature["before"]["top"] and feature["after"]["top"] is not None:
        after = dict(feature["after"]["top"])
        heights = {
            "before": [share for _, share in feature["before"]["top"]],
            "after": [after.get(name, 0.0) for name, _ in feature["before"]["top"]],
        }
    else:
        return {}
    highest = max((height for side in heights.values() for height in side), default=0.0)
    return {"before": sparkline(heights["before"], highest), "now": sparkline(heights["after"], highest)}


def _rounded(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value
