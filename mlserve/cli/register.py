"""``mlserve register``: a model becomes an immutable version."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mlserve.cli.options import (
    ConfigFile,
    GroupRole,
    IgnoreExtra,
    JsonFlag,
    KeyRole,
    LabelRole,
    Name,
    QuietFlag,
    RegistryUrl,
    TimeRole,
    key_values,
    numbers,
)
from mlserve.cli.output import Output


def register(
    name: Name,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The model: an .onnx file, or a checkpoint folder.")],
    metric: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="A metric and its number; may be repeated.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="A training parameter; may be repeated.")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option(metavar="K=V", help="A label; may be repeated.")] = None,
    data: Annotated[
        str | None, typer.Option(metavar="URI", help="The training data; a local file's digest is recorded too.")
    ] = None,
    golden: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Rows whose answers every server must give again before it serves them."),
    ] = None,
    parent: Annotated[str | None, typer.Option(metavar="REF", help="The version that this one was made from.")] = None,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="A sentence for people.")] = None,
    label: LabelRole = "label",
    group: GroupRole = "group",
    key: KeyRole = "key",
    time: TimeRole = "time",
    ignore_extra: IgnoreExtra = False,
    registry: RegistryUrl = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Record a model as an immutable version.

    The same bytes again are the same version: new metrics and tags are added, another value for an existing key is
    exit 5. The evidence file beside the model is read too.
    """
    from mlserve import wiring
    from mlserve.core.refs import parse_name, parse_ref
    from mlserve.errors import UsageError
    from mlserve.rows.reading import Roles
    from mlserve.wiring.registering import register_file
    from mlserve.wiring.registering_checkpoints import register_checkpoint

    out = Output.for_flags(json=as_json, quiet=quiet)
    parse_name(name)
    ancestor = parse_ref(parent) if parent else None
    measured = numbers(key_values(metric, "--metric"), "--metric")
    params, tags = key_values(param, "--param"), key_values(tag, "--tag")
    if model.is_dir() and golden is not None:
        raise UsageError("--golden is for .onnx models: a checkpoint's answers are texts", hint="leave it out")
    with wiring.connect(config, registry=registry) as app, out.progress() as progress:
        said: dict[str, Any] = {
            "metrics": measured,
            "params": params,
            "tags": tags,
            "data_uri": data,
            "parent": ancestor,
            "note": note,
            "progress": progress,
        }
        if model.is_dir():
            made = register_checkpoint(app, name, model, warn=out.warn, **said)
        else:
            roles = Roles(label=label, group=group, key=key, time=time)
            made = register_file(app, name, model, golden=golden, roles=roles, ignore_extra=ignore_extra, **said)
    version = made.version
    sentence = f"{version.ref} is registered" if made.created else f"{version.ref} has these bytes already"
    out.result(f"{sentence} ({version.digest[:19]}…)", {**version.to_dict(), "created": made.created}, made=version.ref)
    if not version.stages:
        out.hint(f"mlserve promote {version.ref} --to production")
