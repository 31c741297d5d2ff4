"""``mlserve withdraw``: empties a stage."""

from typing import Annotated

import typer

from mlserve.cli.completing import complete_ref
from mlserve.cli.options import ConfigFile, JsonFlag, QuietFlag, Reason, RegistryUrl
from mlserve.cli.output import Output


def withdraw(
    place: Annotated[
        str, typer.Argument(metavar="NAME@STAGE", help="The stage to empty.", autocompletion=complete_ref)
    ],
    reason: Reason = None,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Empty a stage: ends a shadow or a challenger."""
    from mlserve import wiring
    from mlserve.cli.moves import tell_move
    from mlserve.core.refs import parse_ref
    from mlserve.errors import UsageError
    from mlserve.registry.promoting import withdraw as run

    out = Output.for_flags(json=as_json, quiet=quiet)
    ref = parse_ref(place)
    if ref.stage is None:
        raise UsageError(f"'{place}' names no stage", hint=f"mlserve withdraw {ref.name}@challenger")
    with wiring.connect(config, registry=registry) as app:
        move = run(app.store, ref.name, ref.stage, by=app.user, now=app.clock(), reason=reason)
    state = f"now empty, {move.previous} left" if move.changed else "empty already"
    tell_move(out, move, f"{ref.name}@{ref.stage} is {state} (generation {move.generation})")
