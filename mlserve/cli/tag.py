"""``mlserve tag``: labels of a version."""

from typing import Annotated

import typer

from mlserve.cli.options import ConfigFile, JsonFlag, QuietFlag, Ref, RegistryUrl, key_values
from mlserve.cli.output import Output
from mlserve.cli.rendering import cell


def tag(
    ref: Ref,
    tags: Annotated[list[str], typer.Argument(metavar="K=V", help="Labels to set; an empty value removes one.")],
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Set labels of a version; K= removes one."""
    from mlserve import wiring
    from mlserve.core.refs import parse_ref
    from mlserve.registry.versions import set_tags

    out = Output.for_flags(json=as_json, quiet=quiet)
    wanted = {key: value or None for key, value in key_values(tags, "tag").items()}
    target = parse_ref(ref)
    with wiring.connect(config, registry=registry) as app:
        version = set_tags(app.store, target, wanted)
    words = cell(version.tags) if version.tags else "no tags"
    out.result(f"{version.ref} has {words}", version, made=version.ref)
