"""Options and arguments that several commands share, each with its help, and small values parsed from words."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from mlserve.cli.completing import complete_name, complete_ref, complete_stage
from mlserve.core.refs import Stage
from mlserve.errors import UsageError

JsonFlag = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document on stdout.")]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the reference or path that was made.")]
RegistryUrl = Annotated[
    str | None,
    typer.Option(
        "--registry", metavar="URL", help="The registry, a SQLAlchemy URL; else MLSERVE_REGISTRY, else the project's."
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The settings file; else the mlserve.toml found from here upwards."),
]
Reason = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; recorded in the history.")]

LabelRole = Annotated[str, typer.Option("--label", metavar="NAME", help="The column that holds the ground truth.")]
GroupRole = Annotated[str, typer.Option("--group", metavar="NAME", help="The column that holds the query or group id.")]
KeyRole = Annotated[str, typer.Option("--key", metavar="NAME", help="The column that holds the unit key.")]
TimeRole = Annotated[str, typer.Option("--time", metavar="NAME", help="The column that holds the event time.")]
IgnoreExtra = Annotated[bool, typer.Option("--ignore-extra", help="Leave out columns that the model does not know.")]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option("--api-key-file", metavar="FILE", help="A file that holds an API key, if the server asks for one."),
]

NAME = typer.Argument(metavar="NAME", help="A model's name.", autocompletion=complete_name)
REF = typer.Argument(
    metavar="REF",
    help="NAME:VERSION, NAME@STAGE, or NAME for what is in production.",
    autocompletion=complete_ref,
)
Name = Annotated[str, NAME]
Ref = Annotated[str, REF]
STAGES = ", ".join(Stage)
ToStage = Annotated[str, typer.Option("--to", metavar="STAGE", help=f"One of {STAGES}.", autocompletion=complete_stage)]


def key_values(words: Iterable[str] | None, option: str) -> dict[str, str]:
    """``k=v`` words as a mapping. Raises UsageError for a word without ``=`` and for one key with two values.

    >>> key_values(["auc=0.9", "note=a=b"], "--metric")
    {'auc': '0.9', 'note': 'a=b'}
    """
    values: dict[str, str] = {}
    for word in words or ():
        key, equals, value = word.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(f"'{word}' is not KEY=VALUE", hint=f"{option} auc=0.97" if option == "--metric" else None)
        if values.get(key, value) != value:
            raise UsageError(f"{option} gives '{key}' two values, '{values[key]}' and '{value}'")
        values[key] = value
    return values


def numbers(values: dict[str, str], option: str) -> dict[str, float]:
    """The same mapping with numbers. Raises UsageError for a value that is none, and for NaN and infinity.

    >>> numbers({"auc": "0.9"}, "--metric")
    {'auc': 0.9}
    """
    parsed = {}
    for key, text in values.items():
        try:
            parsed[key] = float(text)
        except ValueError:
            raise UsageError(f"{option} {key}={text}: '{text}' is not a number") from None
        if parsed[key] - parsed[key] != 0:
            raise UsageError(f"{option} {key}={text}: a finite number is needed")
    return parsed


def fraction(text: str | None, option: str) -> float | None:
    """A share of traffic as a number in (0, 1]: ``5%`` or ``0.05``. Raises UsageError.

    >>> fraction("5%", "--traffic"), fraction("0.5", "--traffic"), fraction(None, "--traffic")
    (0.05, 0.5, None)
    """
    if text is None:
        return None
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise UsageError(f"{option} '{text}' is not a share", hint=f"{option} 5%") from None
    if not 0 < share <= 1:
        raise UsageError(f"{option} '{text}' is not between 0 and 100 %", hint=f"{option} 5%")
    return share
