"""``mlserve traffic``: what servers captured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlserve.cli.documents import to_json
from mlserve.cli.options import ConfigFile, JsonFlag, QuietFlag
from mlserve.cli.output import Output

if TYPE_CHECKING:
    from mlserve.core.settings import Settings
    from mlserve.traffic.surveying import Figures, Holding

Capture = Annotated[
    Path | None,
    typer.Argument(metavar="[CAPTURE]", help="A capture's folder, or one of its files; default serve.capture."),
]


def list_(
    capture: Capture = None, config: ConfigFile = None, as_json: JsonFlag = False, quiet: QuietFlag = False
) -> None:
    """Say what a capture holds, a line a version."""
    from mlserve.traffic.surveying import survey

    out = Output.for_flags(json=as_json, quiet=quiet)
    path, _ = _capture(capture, config)
    found = survey(path)
    rows = [_shown(one) for one in found]
    columns = ("ref", "requests", "rows", "outcomes", "size", "from", "to", "files")
    out.table(columns, rows, document=[asdict(one) for one in found], made=[_ref(one) for one in found])
    _warn(out, found)


def cat(
    capture: Capture = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most this many requests.")] = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Print requests with their inputs and outputs, a JSON line each; with --json as one list."""
    from mlserve.traffic.surveying import requests_of

    out = Output.for_flags(json=as_json, quiet=quiet)
    path, _ = _capture(capture, config)
    found = requests_of(path, limit)
    if as_json:
        out.table((), (), document=list(found), made=())
        return
    for request in found:
        out.event(to_json(request), request, made=request["request_id"])


def stats(
    capture: Capture = None, config: ConfigFile = None, as_json: JsonFlag = False, quiet: QuietFlag = False
) -> None:
    """Say how much was asked, how it was answered, how long it took, and what values tensors have."""
    from mlserve.traffic.surveying import figures

    out = Output.for_flags(json=as_json, quiet=quiet)
    path, _ = _capture(capture, config)
    found = figures(path)
    document = [asdict(one.holding) | {k: v for k, v in asdict(one).items() if k != "holding"} for one in found]
    if as_json or quiet:
        out.table((), (), document=document, made=[_ref(one.holding) for one in found])
    for one in found:
        out.record(_summary(one), document=None, made=_ref(one.holding)) if not (as_json or quiet) else None
        out.details(
            ("tensor", "type", "requests", "missing", "values", "NaN", "min", "mean", "max"),
            [
                {
                    "tensor": tensor.name,
                    "type": tensor.datatype,
                    "requests": tensor.requests,
                    "missing": tensor.missing,
                    "values": tensor.values,
                    "NaN": tensor.nans,
                    "min": tensor.min,
                    "mean": tensor.mean,
                    "max": tensor.max,
                }
                for tensor in one.tensors
            ],
        )
    _warn(out, [one.holding for one in found])


def compact(
    capture: Capture = None, config: ConfigFile = None, as_json: JsonFlag = False, quiet: QuietFlag = False
) -> None:
    """Turn what no server writes any more into Parquet files, one an hour and version, and remove the segments."""
    from mlserve.errors import UsageError
    from mlserve.traffic.compacting import compact as run

    out = Output.for_flags(json=as_json, quiet=quiet)
    path, _ = _capture(capture, config)
    if path.is_file():
        raise UsageError(f"'{path}' is a file", hint="a capture's folder is compacted")
    with out.progress() as progress:
        done = run(path, progress=progress)
    growing = f"; {done.growing} are still being written" if done.growing else ""
    out.result(
        f"{done.segments} segments with {done.requests} requests are {done.files} Parquet files "
        f"({_size(done.bytes_before)} → {_size(done.bytes_after)}){growing}",
        done,
        made=str(path),
    )


def erase(
    capture: Capture = None,
    unit: Annotated[str | None, typer.Option("--unit", metavar="KEY", help="The unit key whose requests go.")] = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Take all requests of one unit key out of a capture, and note in erasures.jsonl that it was done.

    Keys are captured as hashes; serve.capture_key_file must be what the server had.
    """
    from mlserve import wiring
    from mlserve.errors import UsageError
    from mlserve.traffic.erasing import erase as run
    from mlserve.traffic.redaction import Redaction
    from mlserve.traffic.writing import read_key

    out = Output.for_flags(json=as_json, quiet=quiet)
    if unit is None:
        raise UsageError("whose requests?", hint="--unit KEY, the key that clients sent")
    path, settings = _capture(capture, config)
    key_file = settings.serve.capture_key_file
    key = read_key(None if key_file is None else Path(key_file))
    with out.progress() as progress:
        done = run(
            path, Redaction(key=key).unit_key(unit), by=wiring.user_of(settings), now=wiring.now(), progress=progress
        )
    labels = f", and {done.outcomes} outcomes" if done.outcomes else ""
    out.result(f"{done.requests} requests are gone from {done.files} files{labels}", done, made=str(path))
    if done.pending:
        out.warn(f"{done.pending} more files have some and are still being written: erase again once they are sealed")


def _capture(given: Path | None, config: Path | None) -> tuple[Path, Settings]:
    from mlserve.errors import UsageError
    from mlserve.wiring.connecting import settings_in_force

    settings = settings_in_force({}, config).settings
    if given is not None:
        return given, settings
    if settings.serve.capture is None:
        raise UsageError("no capture is given", hint="its folder, or the setting serve.capture")
    return Path(settings.serve.capture), settings


def _ref(one: Holding) -> str:
    return f"{one.model}:{one.version}"


def _shown(one: Holding) -> dict[str, Any]:
    window = one.window
    return {
        "ref": _ref(one),
        "requests": one.requests,
        "rows": one.rows,
        "outcomes": one.outcomes,
        "size": _size(one.bytes),
        "from": None if window is None else window.start,
        "to": None if window is None else window.end,
        "files": f"{one.files}, {one.open} open" if one.open else str(one.files),
    }


def _summary(one: Figures) -> dict[str, Any]:
    shown = {name: value for name, value in _shown(one.holding).items() if name != "ref"}
    return {
        "version": _ref(one.holding),
        **shown,
        "requests a second": one.requests_per_s,
        "statuses": _counts(one.statuses),
        "stages": _counts({name or "asked for": count for name, count in one.stages.items()}),
        "unit keys": one.unit_keys,
        "queue": _times(one.queue_ms),
        "compute": _times(one.compute_ms),
        "rows a run": one.batch_rows_mean,
    }


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(counts.items()))


def _times(times: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {value:.3g} ms" for name, value in times.items() if value is not None)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB"


def _warn(out: Output, found: Sequence[Holding]) -> None:
    if not found:
        out.hint("nothing there yet: mlserve serve NAME --capture DIR")
    for one in found:
        if one.damaged_bytes:
            out.warn(f"{one.damaged_bytes} bytes of {_ref(one)} are damaged, or were never finished, and are not read")
