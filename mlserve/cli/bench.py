"""``mlserve bench``: latency, throughput and cost of a version, a file or a server under load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlserve.cli.completing import complete_ref
from mlserve.cli.options import (
    ApiKeyFile,
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
from mlserve.errors import UsageError

if TYPE_CHECKING:
    from mlserve.bench.measuring import Plan
    from mlserve.bench.runs import Point, Run

CONCURRENCY = "1,8,64"
CONNECTIONS = 256
"""So many requests of an open loop may be under way; those due beyond that wait, and their wait counts."""


def bench(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="A server's URL (http://HOST:PORT/v2/models/NAME, grpc://HOST:PORT/NAME), a ref, or an .onnx file.",
            autocompletion=complete_ref,
        ),
    ],
    concurrency: Annotated[
        str | None,
        typer.Option(
            metavar="N,…", help="Clients that each ask again when answered; default 1,8,64. With --rate: connections."
        ),
    ] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="R,…", help="Requests a second, sent when due whatever the server does.")
    ] = None,
    duration: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds that each load is measured, in all; default 10.")
    ] = None,
    slo: Annotated[
        str | None, typer.Option(metavar="pN=TIME", help="What must hold of every load, such as p99=50ms; else exit 7.")
    ] = None,
    price_per_hour: Annotated[
        float | None, typer.Option(metavar="USD", min=0, help="What an hour of the server costs.")
    ] = None,
    protocol: Annotated[
        Literal["json", "binary", "grpc"] | None,
        typer.Option(help="How a server is asked; default json, for grpc:// grpc."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--input", metavar="DATA", help="Rows to ask with; else they are made up.")
    ] = None,
    rows: Annotated[int | None, typer.Option(metavar="N", min=1, help="Rows in each request; default 1.")] = None,
    warmup: Annotated[
        float | None, typer.Option(metavar="S", min=0, help="Seconds of load before it counts; default 1.")
    ] = None,
    arrivals: Annotated[
        Literal["poisson", "uniform", "bursty"] | None,
        typer.Option(help="When the requests of --rate are due; default poisson."),
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Parts of each load, for the intervals; default 5.")
    ] = None,
    generators: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Processes that ask over HTTP; default half the cores, 4.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write the figures as one HTML file too.")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Keep the figures in the registry, as evidence of the version.")
    ] = False,
    device: Annotated[Device | None, typer.Option(help="Where a ref or a file is run; default auto.")] = None,
    api_key_file: ApiKeyFile = None,
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
    """Measure latency, throughput and cost under load.

    A version and a file are run in this process, a server is asked over the network. Every answer is checked.
    """
    from mlserve import wiring
    from mlserve.bench.measuring import Plan
    from mlserve.core.slo import parse_slo
    from mlserve.rows.reading import Roles
    from mlserve.wiring.benching import bench_target, check_report, default_generators, write_report
    from mlserve.wiring.targeting import Asked

    out = Output.for_flags(json=as_json, quiet=quiet)
    flags = {
        "bench.duration_s": duration,
        "bench.warmup_s": warmup,
        "bench.repeats": repeats,
        "bench.arrivals": arrivals,
        "bench.price_per_hour": price_per_hour,
        "serve.device": device,
        "registry": registry,
    }
    settings = wiring.settings_in_force(flags, config).settings.bench
    plan = Plan(
        _points(concurrency, rate),
        settings.duration_s,
        settings.warmup_s,
        settings.repeats,
        rows=rows or 1,
        arrivals=settings.arrivals,
        slo=parse_slo(slo) if slo else None,
        price_per_hour=settings.price_per_hour,
    )
    roles = Roles(label=label, group=group, key=key, time=time)
    asked = Asked(rows or 1, data, protocol, roles, ignore_extra, api_key_file)
    if report is not None:
        check_report(report)
    with out.progress() as progress:
        found = bench_target(
            target,
            plan,
            asked,
            generators=generators or default_generators(),
            record=record,
            flags=flags,
            config_file=config,
            progress=progress,
        )
    if report is not None:
        write_report(found, report)
    made = [] if report is None else [str(report)]
    for warning in _warnings(found.runs):
        out.warn(warning)
    out.table(_columns(plan), [_line(run) for run in found.runs], document=found.to_dict(), made=made)
    out.picture([(str(run.point), run.curve_ms()) for run in found.runs])
    if found.passed is False:
        missed = ", ".join(str(run.point) for run in found.runs if not run.is_slo_met)
        out.detail(f"{slo} is missed at {missed}")
        raise typer.Exit(7)


def _points(concurrency: str | None, rate: str | None) -> list[Point]:
    from mlserve.bench.runs import Point

    clients = [int(number) for number in _numbers(concurrency, "--concurrency", whole=True)]
    rates = _numbers(rate, "--rate", whole=False)
    if rates:
        return [Point(count, each) for each in rates for count in clients or [CONNECTIONS]]
    return [Point(count) for count in clients or [int(number) for number in CONCURRENCY.split(",")]]


def _numbers(text: str | None, option: str, *, whole: bool) -> list[float]:
    """Numbers above zero, between commas. Raises UsageError."""
    numbers = []
    for word in text.split(",") if text is not None else ():
        try:
            number = float(word)
        except ValueError:
            number = 0.0
        if not 0 < number < 1e9 or (whole and number != int(number)):
            kind = "whole number" if whole else "number"
            raise UsageError(f"{option} '{word}' is not a {kind} above zero", hint=f"{option} 1,8,64")
        numbers.append(number)
    return list(dict.fromkeys(numbers))


def _columns(plan: Plan) -> list[str]:
    columns = ["load", "requests", "errors", "per s", "±", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms"]
    within = [f"in {1e3 * plan.slo.limit_s:g} ms/s", "slo"] if plan.slo else []
    return [*columns, *within, *(["per million"] if plan.price_per_hour is not None else []), "ceiling"]


def _line(run: Run) -> dict[str, Any]:
    document = run.to_dict()
    interval = document["rps_interval"]
    goodput = {f"in {1e3 * run.slo.limit_s:g} ms/s": _short(document["goodput_rps"])} if run.slo else {}
    return goodput | {
        "load": str(run.point),
        "requests": document["requests"],
        "errors": document["errors"],
        "per s": _short(document["rps"]),
        "±": _short((interval[1] - interval[0]) / 2) if interval else None,
        "p50 ms": _short(document["p50_ms"]),
        "p90 ms": _short(document["p90_ms"]),
        "p99 ms": _short(document["p99_ms"]),
        "p99.9 ms": _short(document["p999_ms"]),
        "slo": {True: "met", False: "missed", None: None}[document["slo_met"]],
        "per million": document["cost_per_million"],
        "ceiling": _short(document["generator_ceiling_rps"]),
    }


def _short(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _warnings(runs: Sequence[Run]) -> Iterator[str]:
    """What speaks against taking the figures as they stand."""
    for run in runs:
        if run.is_generator_bound:
            yield (
                f"at {run.point} the generator reached {run.whole.rps / (run.ceiling_rps or 1):.0%} of its own ceiling "
                f"({run.ceiling_rps:,.0f} requests/s): the server may be faster than this"
            )
        if run.whole.failed:
            kinds = ", ".join(f"{kind} × {count}" for kind, count in run.whole.failures.most_common())
            yield f"at {run.point} {run.whole.failed} requests were not answered rightly: {kinds}"
