"""``mlserve list``: models, or the versions of one."""

from collections.abc import Sequence
from typing import Annotated

import typer

from mlserve.cli.completing import complete_name
from mlserve.cli.options import ConfigFile, JsonFlag, QuietFlag, RegistryUrl
from mlserve.cli.output import Output


def list_(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A model's name.", autocompletion=complete_name)
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="EXPR",
            help="Versions for which this holds: comparisons of metric.NAME, param.NAME, tag.NAME, stage, state "
            "or version, joined by 'and'.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most this many, the newest.")] = None,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """List models, or the versions of one, newest first."""
    from mlserve import wiring
    from mlserve.core.refs import parse_name
    from mlserve.registry.versions import list_models, list_versions

    out = Output.for_flags(json=as_json, quiet=quiet)
    if name is not None:
        parse_name(name)
    with wiring.connect(config, registry=registry) as app:
        if name is None and where is None:
            models = list_models(app.store, limit)
            _tell(out, ("name", "versions", "latest", "stages", "created_at"), models, [model.name for model in models])
            return
        versions = list_versions(app.store, name, where, limit)
    columns = ("ref", "stages", "state", "metrics", "created_at", "created_by")
    _tell(out, columns, versions, [version.ref for version in versions])


def _tell(out: Output, columns: Sequence[str], found: Sequence[object], made: Sequence[str]) -> None:
    rows = [{column: getattr(item, column) for column in columns} for item in found]
    out.table(columns, rows, document=found, made=made)
    if not found:
        out.hint("nothing there yet: mlserve register NAME MODEL.onnx")
