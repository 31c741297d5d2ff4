"""``mlserve keys``: the API keys that a server takes."""

from pathlib import Path
from typing import Annotated

import typer

from mlserve.cli.options import ConfigFile, JsonFlag, QuietFlag
from mlserve.cli.output import Output

KeysFile = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="The file of keys; default is the setting serve.api_keys.")
]
KeyName = Annotated[str, typer.Argument(metavar="NAME", help="What the key is called.")]


def add(
    name: KeyName,
    scope: Annotated[
        list[str] | None,
        typer.Option(metavar="SCOPE", help="infer, manage or metrics; repeatable; default infer."),
    ] = None,
    file: KeysFile = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Make a key and print it, once: the file keeps only its hash."""
    from mlserve.serving.security.keys import add_key

    out = Output.for_flags(json=as_json, quiet=quiet)
    path = _path(file, config)
    scopes = [part for text in scope or ["infer"] for part in text.split(",")]
    key = add_key(path, name, scopes)
    document = {"name": name, "scopes": sorted(set(scopes)), "file": str(path), "key": key}
    out.result(f"{name}: {key}", document, made=key)
    out.hint("it is shown this once; clients send it as Authorization: Bearer KEY")


def list_(
    file: KeysFile = None, config: ConfigFile = None, as_json: JsonFlag = False, quiet: QuietFlag = False
) -> None:
    """List the names and scopes of the keys in the file."""
    from mlserve.serving.security.keys import read_keys

    keys = read_keys(_path(file, config)).keys
    rows = [{"name": key.name, "scopes": ",".join(sorted(key.scopes))} for key in keys]
    document = [{"name": key.name, "scopes": sorted(key.scopes)} for key in keys]
    Output.for_flags(json=as_json, quiet=quiet).table(
        ("name", "scopes"), rows, document=document, made=[key.name for key in keys]
    )


def remove(
    name: KeyName,
    file: KeysFile = None,
    config: ConfigFile = None,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Take a key out of the file; servers refuse it within a second or so."""
    from mlserve.serving.security.keys import remove_key

    path = _path(file, config)
    key = remove_key(path, name)
    document = {"name": key.name, "scopes": sorted(key.scopes), "file": str(path)}
    Output.for_flags(json=as_json, quiet=quiet).result(f"{name} is no key any more", document, made=name)


def _path(file: Path | None, config: Path | None) -> Path:
    from mlserve.errors import UsageError
    from mlserve.wiring.connecting import settings_in_force

    if file is not None:
        return file
    setting = settings_in_force({}, config).settings.serve.api_keys
    if setting is None:
        raise UsageError("no file of API keys is given", hint="--file FILE, or the setting serve.api_keys")
    return Path(setting)
