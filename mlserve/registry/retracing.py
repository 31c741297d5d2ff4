"""Where a stage would go back to, read off its past. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mlserve.registry.records import Action


@dataclass(frozen=True, slots=True)
class PastMove:
    """One move of a stage; ``version`` is what stood there since, None for nothing."""

    action: Action
    version: int | None


def version_before(past: Sequence[PastMove], archived: Collection[int]) -> int | None:
    """The version to roll back to after the moves ``past`` (oldest first), None where nothing is left.

    A rollback takes off what came after its target, so the next one goes further back. What was ever rolled back from
    is out for good, even if it was promoted again since; archived versions are passed over.

    >>> one_two = [PastMove("promote", 1), PastMove("promote", 2)]
    >>> version_before(one_two, archived=())
    1
    >>> version_before([*one_two, PastMove("rollback", 1), PastMove("promote", 3)], archived=())
    1
    """
    trail: list[int | None] = []
    rejected: set[int] = set()
    for move in past:
        if move.action != "rollback":
            trail.append(move.version)
            continue
        if trail and trail[-1] is not None:
            rejected.add(trail[-1])
        while trail and trail[-1] != move.version:
            trail.pop()
    current = trail[-1] if trail else None
    for version in reversed(trail):
        if version is not None and version != current and version not in rejected and version not in archived:
            return version
    return None
