"""What the user says of the features in a schema file, ``--schema FILE``; what is not said is guessed.

label = "churned"                  # also time, key, group: columns of data files
score = "probability"              # the output whose distribution is watched
ignore = ["row_number"]            # fed to the model, not watched

[inputs.x]
names = ["amount", "age", "plan"]  # of a 2-D input's columns; or kind = "image"

[features.amount]
kind = "numeric"                   # numeric, categorical, text, tensor, image
low = 0.0                          # outside of [low, high] is a finding
nullable = false
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from mlserve.errors import InvalidConfig, NotFound

KindName = Literal["numeric", "categorical", "text", "tensor", "image"]


class SaidFeature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One feature's table. ``importance`` from 0 to 1 weighs the severity of what is found."""

    kind: KindName | None = None
    low: float | None = None
    high: float | None = None
    categories: tuple[str | int | float | bool, ...] | None = None
    nullable: bool | None = None
    importance: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


class SaidInput(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input's table: the names of its columns, or what it is as a whole."""

    names: tuple[str, ...] | None = None
    kind: KindName | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole schema file; empty where there is none."""

    label: str | None = None
    time: str | None = None
    key: str | None = None
    group: str | None = None
    score: str | None = None
    ignore: tuple[str, ...] = ()
    inputs: dict[str, SaidInput] = {}
    features: dict[str, SaidFeature] = {}


def read_said(path: Path) -> Said:
    """The schema file at ``path``. Raises NotFound; InvalidConfig naming the place of what cannot be used."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFound(f"no schema file '{path}'") from error
    except OSError as error:
        raise InvalidConfig(f"cannot read '{path}': {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"'{path}' is not TOML: {error}") from error
    try:
        said = msgspec.convert(document, Said)
    except msgspec.ValidationError as error:
        raise InvalidConfig(f"'{path}': {error}") from error
    for name, feature in said.features.items():
        if feature.low is not None and feature.high is not None and feature.low > feature.high:
            raise InvalidConfig(f"'{path}': feature '{name}' has low {feature.low} above high {feature.high}")
    return said
