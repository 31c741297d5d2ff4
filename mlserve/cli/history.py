"""``mlserve history``: who moved what, when and why."""

from mlserve.cli.options import ConfigFile, JsonFlag, Name, QuietFlag, RegistryUrl
from mlserve.cli.output import Output


def history(
    name: Name,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Show who moved what, when and why, newest first."""
    from mlserve import wiring
    from mlserve.core.refs import parse_name
    from mlserve.registry.history import history as moves_of

    out = Output.for_flags(json=as_json, quiet=quiet)
    parse_name(name)
    with wiring.connect(config, registry=registry) as app:
        entries = moves_of(app.store, name)
    columns = ("at", "stage", "generation", "action", "ref", "previous", "by", "forced", "reason")
    rows = [{column: getattr(entry, column) for column in columns} for entry in entries]
    out.table(columns, rows, document=entries, made=[entry.ref for entry in entries if entry.ref])
