"""What a rule is, how it is broken or does not apply, and the verdict on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NoReturn

if TYPE_CHECKING:
    from mlserve.bench.conformance.probe import Probe

Port = Literal["http", "grpc"]


class Level(StrEnum):
    """How much a rule weighs."""

    MUST = "must"
    """The protocol's text, or what a client cannot work without."""
    SHOULD = "should"
    """What Triton does and clients have come to expect, though the protocol leaves it open."""
    EXTENSION = "extension"
    """Part of an extension: holds for servers that advertise it."""


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


class RuleBroken(Exception):
    """The server did otherwise; the message says what was seen."""


class RuleSkipped(Exception):
    """The rule cannot be looked at here; the message says why."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a server must do. ``check`` returns, or raises RuleBroken or RuleSkipped.

    A rule that ``changes`` the server (unloads a model) is looked at only on demand.
    """

    name: str
    level: Level
    sentence: str
    check: Callable[[Probe], None]
    extension: str | None
    port: Port
    changes: bool

    @property
    def subject(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found for one rule. ``detail`` says what was seen, or why nothing was; ``ms`` is the time taken."""

    rule: Rule
    outcome: Outcome
    detail: str
    ms: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.rule.name,
            "level": self.rule.level.value,
            "extension": self.rule.extension,
            "port": self.rule.port,
            "rule": self.rule.sentence,
            "outcome": self.outcome.value,
            "detail": self.detail,
            "ms": round(self.ms, 3),
        }


class Book:
    """The rules of one subject, in the order they are written."""

    def __init__(self, subject: str, *, port: Port = "http", extension: str | None = None) -> None:
        self.subject = subject
        self.rules: list[Rule] = []
        self._port: Port = port
        self._extension = extension

    def must(self, name: str) -> Callable[[Callable[[Probe], None]], Callable[[Probe], None]]:
        """Marks a function as a rule; the first line of its docstring is the rule's sentence."""
        return self._marker(name, Level.EXTENSION if self._extension else Level.MUST)

    def should(self, name: str) -> Callable[[Callable[[Probe], None]], Callable[[Probe], None]]:
        return self._marker(name, Level.SHOULD)

    def changing(self, name: str) -> Callable[[Callable[[Probe], None]], Callable[[Probe], None]]:
        """A rule that changes the server under test while it is looked at."""
        return self._marker(name, Level.EXTENSION if self._extension else Level.MUST, changes=True)

    def add(self, name: str, level: Level, sentence: str, check: Callable[[Probe], None]) -> None:
        """A rule that is one of a family, with its sentence."""
        self.rules.append(
            Rule(f"{self.subject}.{name}", level, sentence, check, self._extension, self._port, changes=False)
        )

    def _marker(
        self, name: str, level: Level, *, changes: bool = False
    ) -> Callable[[Callable[[Probe], None]], Callable[[Probe], None]]:
        def mark(check: Callable[[Probe], None]) -> Callable[[Probe], None]:
            sentence = (check.__doc__ or "").strip().partition("\n")[0].rstrip(".")
            self.rules.append(
                Rule(f"{self.subject}.{name}", level, sentence, check, self._extension, self._port, changes)
            )
            return check

        return mark


def expect(condition: bool, seen: str) -> None:
    """Raises RuleBroken with what was ``seen`` unless ``condition`` holds."""
    if not condition:
        raise RuleBroken(seen)


def broken(seen: str) -> NoReturn:
    raise RuleBroken(seen)
