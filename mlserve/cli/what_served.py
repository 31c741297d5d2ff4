"""``mlserve what-served``: which version stood where at a time."""

from typing import Annotated

import typer

from mlserve.cli.options import ConfigFile, JsonFlag, Name, QuietFlag, RegistryUrl
from mlserve.cli.output import Output


def what_served(
    name: Name,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="ISO 8601, UTC unless it says otherwise; default now.")
    ] = None,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show which version stood in each stage at a time."""
    from mlserve import wiring
    from mlserve.core.moments import parse_moment
    from mlserve.core.refs import parse_name
    from mlserve.registry.history import stood_at

    out = Output.for_flags(json=as_json, quiet=quiet)
    parse_name(name)
    moment = None if at is None else parse_moment(at, "--at")
    with wiring.connect(config, registry=registry) as app:
        moment = moment or app.clock()
        moves = stood_at(app.store, name, moment)
    production = next((move.ref for move in moves if move.stage == "production"), None)
    document = {"name": name, "at": moment, "ref": production, "stages": {move.stage.value: move for move in moves}}
    if out.mode == "human" and not moves:
        out.detail(f"no version of '{name}' stood in any stage at {moment:%Y-%m-%d %H:%M:%SZ}")
        return
    rows = [
        {"stage": move.stage, "ref": move.ref, "since": move.at, "by": move.by, "reason": move.reason} for move in moves
    ]
    made = [] if production is None else [production]
    out.table(("stage", "ref", "since", "by", "reason"), rows, document=document, made=made)
