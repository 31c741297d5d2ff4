"""What stands in shadow beside what, and the ports to where that is known and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mlserve.serving.loaded import Loaded
from mlserve.serving.loading import Fetched


class Held(Protocol):
    """What stands in a stage, as ``following.Placement`` says it."""

    @property
    def name(self) -> str: ...
    @property
    def stage(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def generation(self) -> int: ...
    @property
    def digest(self) -> str: ...
    @property
    def traffic(self) -> float | None: ...


class Records(Protocol):
    """Where versions come from and evidence goes; both from threads of others."""

    def fetch(self, placement: Any) -> Fetched: ...

    def record(self, digest: str, kind: str, figures: Mapping[str, Any], data_digest: str) -> None:
        """Keep evidence. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A shadow and its champion; another of any of these is another comparison."""

    name: str
    version: int
    digest: str
    generation: int
    champion: int
    champion_digest: str | None


def pair_of(held: Held, champion: Loaded) -> Pair:
    """What ``held`` is beside ``champion``."""
    return Pair(held.name, held.version, held.digest, held.generation, champion.version, champion.digest)
