"""``mlserve quantize``: a smaller, faster model, if it stays good enough."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mlserve.cli.completing import complete_ref
from mlserve.cli.options import (
    ConfigFile,
    GroupRole,
    IgnoreExtra,
    JsonFlag,
    KeyRole,
    LabelRole,
    QuietFlag,
    RegistryUrl,
    TimeRole,
)
from mlserve.cli.output import Output

if TYPE_CHECKING:
    from mlserve.quantize.reporting import QuantizeReport


def quantize(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="An .onnx file, a checkpoint folder, or a ref.", autocompletion=complete_ref
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Where the smaller model goes.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="METHOD",
            help="auto, fp16, int8, int8-dynamic, int8-weights or int4-weights; of checkpoints bnb-int8 or bnb-nf4.",
        ),
    ],
    calibrate: Annotated[
        Path | None, typer.Option(metavar="DATA", help="Rows to see the model at work on, for int8.")
    ] = None,
    calibration: Annotated[
        Literal["minmax", "entropy", "percentile"] | None,
        typer.Option(help="How ranges are taken from these rows; default minmax."),
    ] = None,
    evaluate: Annotated[
        Path | None, typer.Option(metavar="DATA", help="Rows to judge both models by; for checkpoints text.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="M",
            help="What to judge by: accuracy, f1, auc, log_loss, rmse, mae, ndcg[@K] of labels; agreement, cosine, "
            "neighbours[@K] of the original's answers; or module:function. Default is the setting quantize.metric.",
        ),
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(metavar="X", min=0, help="The metric may fall by this, in its own units.")
    ] = None,
    min_speedup: Annotated[
        float | None, typer.Option(metavar="X", min=0, help="The model must be so many times as fast.")
    ] = None,
    target: Annotated[
        Literal["cpu", "cuda", "tensorrt"] | None, typer.Option(help="Where it will run; default cpu.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long --to auto may search, such as 300s or 10m.")
    ] = None,
    report_to: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Write the figures as one HTML file too.")
    ] = None,
    confident: Annotated[
        bool, typer.Option("--confident", help="Judge the worst drop that the interval allows, not the one measured.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write the model although the gate says no.")] = False,
    label: LabelRole = "label",
    group: GroupRole = "group",
    key: KeyRole = "key",
    time: TimeRole = "time",
    ignore_extra: IgnoreExtra = False,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Make a model smaller and faster, if it stays good enough.

    If it loses more than --max-drop, or gains nothing: exit 7, and nothing is written.
    """
    from mlserve import wiring
    from mlserve.core.durations import parse_duration
    from mlserve.quantize.quantizing import quantize as run
    from mlserve.rows.reading import Roles
    from mlserve.wiring.predicting import is_path, model_file
    from mlserve.wiring.quantizing import check_report, write_report

    out = Output.for_flags(json=as_json, quiet=quiet)
    flags = {
        "quantize.metric": metric,
        "quantize.max_drop": max_drop,
        "quantize.min_speedup": min_speedup,
        "quantize.target": target,
        "quantize.calibration": calibration,
        "quantize.budget_s": None if budget is None else parse_duration(budget, "--budget"),
        "registry": registry,
    }
    settings = wiring.settings_in_force(flags, config).settings
    if report_to is not None:
        check_report(report_to)
    with model_file(model, flags=flags, config_file=config) as (path, _), out.progress() as progress:
        report = run(
            path,
            output,
            method=to,
            evaluate=evaluate,
            calibrate=calibrate,
            calibration=settings.quantize.calibration,
            calibration_rows=settings.quantize.calibration_rows,
            metric=settings.quantize.metric,
            max_drop=settings.quantize.max_drop,
            min_speedup=settings.quantize.min_speedup,
            target=settings.quantize.target,
            budget_s=settings.quantize.budget_s,
            confident=confident,
            force=force,
            roles=Roles(label=label, group=group, key=key, time=time),
            ignore_extra=ignore_extra,
            by=wiring.user_of(settings),
            now=wiring.now(),
            progress=progress,
        )
    if report_to is not None:
        write_report(report, model, settings.quantize.max_drop, report_to)
    for note in report.notes:
        out.warn(note)
    figures = _figures(report)
    if report.output is None:
        tried = f" ({figures})" if report.latency else ""
        out.result(f"{output} is not written{tried}", report, good=False)
        for reason in report.reasons:
            out.detail(f"  {reason}")
        _show_more(report, out)
        raise typer.Exit(7)
    forced = f", although {'; '.join(report.reasons)}" if report.is_forced else ""
    out.result(f"{model} as {report.method}: {output}{forced} ({figures})", report, made=str(output))
    _show_more(report, out)
    parent = "" if is_path(model) else f" --parent {model}"
    out.hint(f"mlserve register NAME {output}{parent}")


def _show_more(report: QuantizeReport, out: Output) -> None:
    """What a search tried, as a table and a picture; ◆ marks the Pareto front. Further lines of other reports."""
    for line in report.lines():
        out.detail(line)
    if report.search is None or not report.search.attempts:
        return
    from mlserve.quantize.pareto import front
    from mlserve.report.scatter import Point, scatter

    standings = [tried.standing for tried in report.search.attempts]
    on_front = set(front(standings))
    chosen = report.method if report.passed else None
    lines = [
        {
            "method": one.name,
            "smaller": f"{one.size_ratio:.2f}×",
            "as fast": f"{one.speedup:.2f}×",
            "fall": "–" if one.drop is None else f"{one.drop:.3g}",
            "front": "◆" if one.name in on_front else "",
            "verdict": "chosen" if one.name == chosen else "passed" if one.passed else "refused",
        }
        for one in standings
    ]
    out.details(list(lines[0]), lines)
    points = [Point(one.name, one.speedup, one.drop) for one in standings if one.drop is not None]
    if len(points) > 1 and report.metric is not None:
        for line in scatter(points, x="times as fast", y=f"fall of {report.metric.name}"):
            out.detail(line)


def _figures(report: QuantizeReport) -> str:
    """Size, speed and metric of the smaller model against the model, in a line."""
    ratio = report.size_ratio
    size = f"{ratio:.2f}× smaller" if ratio >= 1 else f"{1 / ratio:.2f}× larger"
    figures = f"{size}, {report.speedup:.2f}× as fast"
    if report.metric is None:
        return figures
    low, high = report.metric.interval
    drop = f"drop {report.metric.drop:.2g}, 95 % interval {low:.2g} to {high:.2g}"
    return f"{figures}, {report.metric.name} {report.metric.before:.4g} → {report.metric.after:.4g}: {drop}"
