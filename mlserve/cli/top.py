"""``mlserve top``: live rates and percentiles of a server."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from mlserve.cli.options import ApiKeyFile, ConfigFile, JsonFlag, QuietFlag
from mlserve.cli.output import BROKEN_PIPE, Output

if TYPE_CHECKING:
    from mlserve.wiring.topping import Look


def top(
    url: Annotated[
        str | None,
        typer.Argument(metavar="[URL]", help="The server; without it, where the settings say that one listens."),
    ] = None,
    interval: Annotated[
        float | None, typer.Option(metavar="S", min=0.05, help="Seconds between two looks; default 1.")
    ] = None,
    count: Annotated[int | None, typer.Option(metavar="N", min=1, help="End after so many looks.")] = None,
    api_key_file: ApiKeyFile = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Watch a server: rates and percentiles of each version, as they are now.

    Times are those of the last interval, from the server's own histograms. Ctrl-C ends it.
    """
    from mlserve.wiring.remote import read_key
    from mlserve.wiring.topping import INTERVAL_S, look, server_url

    out = Output.for_flags(json=as_json, quiet=quiet)
    looks = look(server_url(url, config), interval_s=interval or INTERVAL_S, count=count, key=read_key(api_key_file))
    if out.is_live:
        draw(looks)
        return
    for found in looks:
        for line in _lines(found) if not as_json else [""]:
            out.event(line, found.to_dict())
            if out.mode == "quiet" and not quiet:  # nobody reads any more
                raise typer.Exit(BROKEN_PIPE)


COLUMNS = (
    "version", "requests/s", "rows/s", "p50 ms", "p90 ms", "p99 ms", "queue p99 ms", "batch rows", "queued rows",
    "rejected/s", "failed/s",
)  # fmt: skip

HEADS = ("version", "req/s", "rows/s", "p50 ms", "p90 ms", "p99 ms", "queue", "batch", "waiting", "rej/s", "fail/s")
"""The same for a terminal of 80 columns; ``queue`` is the percentile 99 of the time in queue, in ms."""


def draw(looks: Iterable["Look"]) -> None:
    """A table that is drawn anew with each look, on a terminal."""
    from rich.live import Live
    from rich.table import Table

    with Live(auto_refresh=False) as live:
        for found in looks:
            below = "\n".join(_shadows(found)) or None
            table = Table(title=_headline(found), caption=below, box=None, padding=(0, 1, 0, 0))
            table.title_justify = table.caption_justify = "left"
            for column in HEADS:
                is_name = column == "version"
                table.add_column(column, justify="left" if is_name else "right", no_wrap=True)
            for row in _rows(found):
                table.add_row(*row)
            live.update(table, refresh=True)


def _lines(found: "Look") -> list[str]:
    """One line a version and one a shadow, each whole in itself, for a pipe; one for a server without any."""
    at = f"{found.at:%H:%M:%S}"
    rows = _rows(found)
    if not rows:
        return [f"{at} {_headline(found)}"]
    lines = [" ".join([row[0], *(f"{name}={value}" for name, value in _named(row))]) for row in rows]
    return [f"{at} {line}" for line in (*lines, *_shadows(found))]


def _shadows(found: "Look") -> list[str]:
    return [
        f"{rate.model}:{rate.version} in shadow{'' if rate.up else ' (away)'} compared/s={rate.compared_per_s:.1f}"
        f" dropped/s={rate.dropped_per_s:.1f} failed/s={rate.failed_per_s:.1f} differing={_share(rate.differing_share)}"
        for rate in found.shadows
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _named(row: list[str]) -> list[tuple[str, str]]:
    return [(name.replace(" ", "_"), value) for name, value in zip(COLUMNS[1:], row[1:], strict=True)]


def _headline(found: "Look") -> str:
    return (
        f"{found.url}: {found.connections} connections, {found.cores:.2f} cores, {found.rss_bytes / (1 << 20):.0f} MiB"
    )


def _rows(found: "Look") -> list[list[str]]:
    return [
        [
            f"{rate.model}:{rate.version}" + ("" if rate.ready else " (away)"),
            f"{rate.requests_per_s:.1f}",
            f"{rate.rows_per_s:.1f}",
            *(_figure(value) for value in (rate.p50_ms, rate.p90_ms, rate.p99_ms, rate.queue_p99_ms, rate.batch_rows)),
            str(rate.queue_rows),
            f"{rate.rejected_per_s:.1f}",
            f"{rate.failed_per_s:.1f}",
        ]
        for rate in found.rates
    ]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
