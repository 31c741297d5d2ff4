"""``mlserve tune``: lanes, threads and batches that suit a version on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from mlserve.core.settings import Device

if TYPE_CHECKING:
    from mlserve.wiring.tuning import TuneReport


def tune(
    ref: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="The version; or an .onnx file, for which nothing is stored.",
            autocompletion=complete_ref,
        ),
    ],
    slo: Annotated[
        str | None,
        typer.Option(metavar="pN=TIME", help="Count only answers within it, such as p99=20ms, and try holds too."),
    ] = None,
    budget: Annotated[str | None, typer.Option(metavar="TIME", help="How long it may take; default 300s.")] = None,
    clients: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="How many ask at a time; default 64, with --slo as many as the default keeps it for.",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--input", metavar="DATA", help="Rows to ask with; else they are made up.")
    ] = None,
    rows: Annotated[int | None, typer.Option(metavar="N", min=1, help="Rows in each request; default 1.")] = None,
    device: Annotated[Device | None, typer.Option(help="Where it is run; default auto.")] = None,
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
    """Find the lanes, threads and batches that suit a version on this machine.

    Measured with the engine of `serve`, in this process. The profile is stored with the version, and `serve` uses it on
    such a machine for what you do not set yourself. The default stays where nothing beats it by more than its noise.
    """
    from mlserve.core.durations import parse_duration
    from mlserve.core.slo import parse_slo
    from mlserve.rows.reading import Roles
    from mlserve.wiring.targeting import Asked
    from mlserve.wiring.tuning import BUDGET_S, tune_target

    out = Output.for_flags(json=as_json, quiet=quiet)
    roles = Roles(label=label, group=group, key=key, time=time)
    with out.progress() as progress:
        report = tune_target(
            ref,
            asked=Asked(rows or 1, data, None, roles, ignore_extra),
            budget_s=BUDGET_S if budget is None else parse_duration(budget, "--budget"),
            slo=None if slo is None else parse_slo(slo),
            clients=clients,
            flags={"serve.device": device, "registry": registry},
            config_file=config,
            progress=progress,
        )
    if report.after["slo_met"] is False:
        load = "1 client" if report.clients == 1 else f"{report.clients} clients at a time"
        out.warn(f"{slo} was missed with {load}: it is too tight, or this machine is busy")
    for name in report.overruled:
        out.warn(f"serve.{name} is set here, and wins over a profile")
    out.result(_sentence(report), report, made=ref)
    out.details(("setting", *_COLUMNS), _lines(report))
    if report.recorded and report.profile.is_better:
        out.hint("`mlserve serve` uses it on such a machine from the version's next load on")


_COLUMNS = ("rows per s", "± rows", "p50 ms", "± p50", "p99 ms", "± p99")


def _sentence(report: TuneReport) -> str:
    found = report.found
    if not found.tried:
        return f"{report.target}: there is nothing to choose: it runs on the event loop, one request at a time"
    if not report.profile.is_better:
        return f"{report.target}: no setting beats the default ({found.default}) by more than its noise"
    assert found.interval is not None, "what is better was compared"
    low, high = found.interval
    what = "rows a second" if report.slo is None else f"rows a second within {1e3 * report.slo.limit_s:g} ms"
    interval = f"95 % interval {low:.2f} to {high:.2f}"
    return f"{report.target}: {found.best}: {found.gain:.2f}× the default's {what} ({interval})"


def _lines(report: TuneReport) -> list[dict[str, Any]]:
    """The default, and what it was compared with in pairs, if anything."""
    compared = [(str(report.found.default), report.before)]
    if report.profile.is_better:
        compared.append((str(report.found.best), report.after))
    return [{"setting": name, **_figures(document)} for name, document in compared]


def _figures(document: dict[str, Any]) -> dict[str, Any]:
    figures = {}
    for name, column, spread in (
        ("rows_per_s", "rows per s", "± rows"),
        ("p50_ms", "p50 ms", "± p50"),
        ("p99_ms", "p99 ms", "± p99"),
    ):
        interval = document[f"{name}_interval"]
        figures[column] = _short(document[name])
        figures[spread] = _short((interval[1] - interval[0]) / 2) if interval else None
    return figures


def _short(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
