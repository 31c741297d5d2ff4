"""``mlserve db``: migrations of the registry's schema."""

from pathlib import Path
from typing import Annotated

import typer

from mlserve.cli.options import ConfigFile, JsonFlag, QuietFlag, RegistryUrl
from mlserve.cli.output import Output


def upgrade(
    registry: RegistryUrl = None, config: ConfigFile = None, as_json: JsonFlag = False, quiet: QuietFlag = False
) -> None:
    """Bring the registry's schema to what this mlserve needs."""
    from mlserve.registry.migrating import upgrade as run

    revisions = run(_url(registry, config))
    moved = f"from {revisions.before or 'nothing'} to {revisions.after}"
    sentence = (
        f"the schema was upgraded {moved}"
        if revisions.before != revisions.after
        else f"the schema is at {revisions.after} already"
    )
    Output.for_flags(json=as_json, quiet=quiet).result(sentence, revisions, made=revisions.after)


def current(
    registry: RegistryUrl = None, config: ConfigFile = None, as_json: JsonFlag = False, quiet: QuietFlag = False
) -> None:
    """Print the revision of the registry's schema."""
    from mlserve.registry.migrating import current as run

    revisions = run(_url(registry, config))
    sentence = f"the schema is at {revisions.after or 'no revision'}, this mlserve needs {revisions.head}"
    Output.for_flags(json=as_json, quiet=quiet).result(
        sentence, revisions, made=revisions.after, good=revisions.in_sync
    )


def check(
    registry: RegistryUrl = None, config: ConfigFile = None, as_json: JsonFlag = False, quiet: QuietFlag = False
) -> None:
    """Check that the registry's schema is the one needed.

    If it is older or newer than this mlserve: exit 7, with a hint at what to do.
    """
    from mlserve.errors import InvalidConfig
    from mlserve.registry.migrating import check as run
    from mlserve.registry.migrating import current as found

    out = Output.for_flags(json=as_json, quiet=quiet)
    url = _url(registry, config)
    try:
        revisions = run(url)
    except InvalidConfig as no:
        revisions = found(url)
        out.result(no.message, revisions, made=revisions.after, good=False)
        out.hint(no.hint or "mlserve db upgrade")
        raise typer.Exit(7) from None
    out.result(f"the schema is at {revisions.head}, as needed", revisions, made=revisions.after)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy goes.")],
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Copy a SQLite registry to a file while it is in use."""
    from mlserve.registry.migrating import backup as run

    run(_url(registry, config), file)
    Output.for_flags(json=as_json, quiet=quiet).result(
        f"the registry is copied to {file}", {"output": file}, made=str(file)
    )


def _url(registry: str | None, config: Path | None) -> str:
    from mlserve import wiring

    return wiring.registry_url(wiring.settings_in_force({"registry": registry}, config))
