"""``mlserve rollback``: production back to what stood there before."""

from mlserve.cli.options import ConfigFile, JsonFlag, Name, QuietFlag, Reason, RegistryUrl
from mlserve.cli.output import Output


def rollback(
    name: Name,
    reason: Reason = None,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Put back into production what stood there before.

    Again goes further back, never to a version that was rolled back from; with nothing left: exit 4.
    """
    from mlserve import wiring
    from mlserve.cli.moves import tell_move
    from mlserve.core.refs import parse_name
    from mlserve.registry.promoting import rollback as run

    out = Output.for_flags(json=as_json, quiet=quiet)
    parse_name(name)
    with wiring.connect(config, registry=registry) as app:
        move = run(app.store, name, by=app.user, now=app.clock(), reason=reason)
    sentence = f"{move.ref} is back in {move.stage} in place of {move.previous} (generation {move.generation})"
    tell_move(out, move, sentence)
