"""How people name a version: ``fraud:7``, ``fraud@challenger``, or ``fraud`` for what is in production."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mlserve.errors import UsageError

MAX_NAME_CHARS = 128
NAME_PATTERN = rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME_CHARS - 1}}}"

_NAME = re.compile(NAME_PATTERN)
_REF = re.compile(rf"(?P<name>{NAME_PATTERN})(?::(?P<version>[1-9][0-9]{{0,17}})|@(?P<stage>[a-z]+))?")


class Stage(StrEnum):
    """A place that one version of a model holds at a time."""

    STAGING = "staging"
    SHADOW = "shadow"
    CHALLENGER = "challenger"
    PRODUCTION = "production"


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model's name with a version number, a stage, or neither (which means production).

    >>> str(parse_ref("fraud:7")), parse_ref("fraud").holder
    ('fraud:7', <Stage.PRODUCTION: 'production'>)
    """

    name: str
    version: int | None = None
    stage: Stage | None = None

    def __post_init__(self) -> None:
        if self.version is not None and self.stage is not None:
            raise UsageError(f"'{self.name}' cannot name a version and a stage at once")

    @property
    def holder(self) -> Stage | None:
        """The stage to look in, or None when a version number says it all."""
        if self.version is not None:
            return None
        return self.stage or Stage.PRODUCTION

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.name}:{self.version}"
        return f"{self.name}@{self.stage}" if self.stage else self.name


def parse_name(text: str) -> str:
    """A model's name, checked: ASCII letters, digits, dot, dash and underscore, at most 128 of them.

    Raises UsageError.
    """
    if not _NAME.fullmatch(text):
        raise UsageError(
            f"'{text}' is not a model name",
            hint="letters, digits, '.', '_' and '-', starting with a letter or digit, at most 128 of them",
        )
    return text


def parse_ref(text: str) -> ModelRef:
    """The ref that ``text`` spells. Raises UsageError, with the nearest stage where one was misspelt.

    >>> parse_ref("fraud@challenger")
    ModelRef(name='fraud', version=None, stage=<Stage.CHALLENGER: 'challenger'>)
    """
    match = _REF.fullmatch(text)
    if match is None:
        raise UsageError(f"'{text}' is not a model ref", hint="write NAME, NAME:VERSION or NAME@STAGE, such as fraud:7")
    version, stage = match["version"], match["stage"]
    return ModelRef(match["name"], int(version) if version else None, parse_stage(stage) if stage else None)


def parse_stage(text: str) -> Stage:
    """The stage named ``text``. Raises UsageError with the nearest name.

    >>> parse_stage("production")
    <Stage.PRODUCTION: 'production'>
    """
    try:
        return Stage(text)
    except ValueError:
        near = did_you_mean(text, list(Stage)) or f"one of {', '.join(Stage)}"
        raise UsageError(f"'{text}' is not a stage", hint=near) from None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint naming the known word nearest to ``word``, or None when nothing is near.

    >>> did_you_mean("prodution", ["production", "staging"])
    "did you mean 'production'?"
    """
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else None
