"""``mlserve archive`` and ``unarchive``: whether a version may serve at all."""

from mlserve.cli.options import ConfigFile, JsonFlag, QuietFlag, Ref, RegistryUrl
from mlserve.cli.output import Output


def archive(
    ref: Ref,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Archive a version: it serves nowhere any more."""
    from mlserve import wiring
    from mlserve.core.refs import parse_ref
    from mlserve.registry.versions import archive as run

    target = parse_ref(ref)
    with wiring.connect(config, registry=registry) as app:
        version = run(app.store, target)
    Output.for_flags(json=as_json, quiet=quiet).result(f"{version.ref} is archived", version, made=version.ref)


def unarchive(
    ref: Ref,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Take a version back from the archive."""
    from mlserve import wiring
    from mlserve.core.refs import parse_ref
    from mlserve.registry.versions import unarchive as run

    target = parse_ref(ref)
    with wiring.connect(config, registry=registry) as app:
        version = run(app.store, target)
    Output.for_flags(json=as_json, quiet=quiet).result(f"{version.ref} may serve again", version, made=version.ref)
