"""What the registry answers with: frozen values that hold no connection, each with ``to_dict`` for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import Enum
from typing import Any, Literal

from mlserve.core.digests import FileEntry, Manifest
from mlserve.core.evidence import isoformat
from mlserve.core.refs import ModelRef, Stage, parse_ref
from mlserve.core.tensors import Signature

State = Literal["ready", "archived"]
Action = Literal["promote", "rollback", "withdraw"]


class _Record:
    """Gives a dataclass ``to_dict``: its fields by name, with times in ISO 8601 UTC and nested values as JSON."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        return {item.name: _as_json(getattr(self, item.name)) for item in fields(self)}  # type: ignore[arg-type]  # only dataclasses inherit


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return isoformat(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, FileEntry):
        return {"path": value.path, "digest": value.digest, "size_bytes": value.size_bytes}
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class Commit(_Record):
    """The state of the code that made a version: full commit hash, and whether the work tree had changes beyond it."""

    sha: str
    dirty: bool


@dataclass(frozen=True, slots=True)
class Version(_Record):
    """One immutable version, whole. ``stages`` are in the order of ``Stage``; ``golden`` is the digest of a blob."""

    ref: str
    name: str
    version: int
    digest: str
    files: Sequence[FileEntry]
    signature: Signature
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    stages: Sequence[Stage]
    state: State
    kind: str
    parent: str | None
    commit: str | None
    dirty: bool | None
    data_uri: str | None
    data_digest: str | None
    golden: str | None
    note: str | None
    created_at: datetime
    created_by: str

    @property
    def manifest(self) -> Manifest:
        """What ``ArtefactStore.open_local`` takes."""
        return Manifest(tuple(self.files))


@dataclass(frozen=True, slots=True)
class ModelSummary(_Record):
    """One model in a list: how many versions, the newest with its metrics, and which version stands in each stage."""

    name: str
    versions: int
    latest: int | None
    ref: str | None
    metrics: Mapping[str, float]
    stages: Mapping[str, int]
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class Registration(_Record):
    """A version, and whether this call made it (False: the same bytes were there before)."""

    version: Version
    created: bool


@dataclass(frozen=True, slots=True)
class Gate(_Record):
    """One demand on evidence. ``passed`` is None where there was nothing to judge by: a warning, not a refusal.

    ``measured`` and ``threshold`` are in the figure's own unit (ages in seconds); ``detail`` is for people.
    """

    name: str
    passed: bool | None
    measured: float | None = None
    threshold: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Move(_Record):
    """What a promotion, rollback or withdrawal did, or was refused.

    ``ref`` is what was asked to stand in ``stage`` (None for a withdrawal), ``previous`` what stood there before, and
    ``generation`` the stage's after the call. ``allowed`` is False when a gate refused: nothing changed then.
    """

    ref: str | None
    stage: Stage
    previous: str | None
    generation: int
    changed: bool
    forced: bool = False
    allowed: bool = True
    dry_run: bool = False
    traffic: float | None = None
    gates: Sequence[Gate] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Expect(_Record):
    """What the caller believes to stand in a stage: a ref, or None for "nothing"."""

    ref: ModelRef | None


def parse_expect(text: str) -> Expect:
    """The expectation that ``text`` spells: a ref, or ``none``. Raises UsageError.

    >>> parse_expect("none")
    Expect(ref=None)
    """
    return Expect(None if text == "none" else parse_ref(text))


@dataclass(frozen=True, slots=True)
class HistoryEntry(_Record):
    """One move of one stage: what stands there since (None: nothing), what stood before, who, when and why."""

    name: str
    stage: Stage
    generation: int
    action: Action
    ref: str | None
    previous: str | None
    traffic: float | None
    forced: bool
    reason: str | None
    by: str
    at: datetime
    gates: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class VersionDiff(_Record):
    """What differs between two versions: each mapping holds only what differs, as ``[a's value, b's value]``."""

    a: str
    b: str
    same_bytes: bool
    fields: Mapping[str, Sequence[Any]]
    metrics: Mapping[str, Sequence[float | None]]
    params: Mapping[str, Sequence[str | None]]
    tags: Mapping[str, Sequence[str | None]]
    files: Mapping[str, Sequence[str | None]]
    incompatible: Sequence[str]


@dataclass(frozen=True, slots=True)
class Placement(_Record):
    """What stands in one stage now, with all that a server needs to load it."""

    name: str
    stage: Stage
    version: int
    digest: str
    generation: int
    files: Sequence[FileEntry]
    golden: str | None
    traffic: float | None = None

    @property
    def manifest(self) -> Manifest:
        """What ``ArtefactStore.open_local`` takes."""
        return Manifest(tuple(self.files))


@dataclass(frozen=True, slots=True)
class Instance(_Record):
    """A server that follows the registry: where it runs, when it last spoke, the generation it has of each stage.

    ``failures`` are the (model, version) that it could not load, and why.
    """

    instance_id: str
    host: str
    pid: int
    status: str
    started_at: datetime
    heartbeat_at: datetime
    loaded: Mapping[tuple[str, str], int] = field(default_factory=dict)
    failures: Mapping[tuple[str, int], str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        loaded = [{"name": name, "stage": stage, "generation": seen} for (name, stage), seen in self.loaded.items()]
        failures = [{"name": name, "version": of, "reason": why} for (name, of), why in self.failures.items()]
        return {**_Record.to_dict(self), "loaded": loaded, "failures": failures}


@dataclass(frozen=True, slots=True)
class Capture(_Record):
    """A folder on ``host`` in which a server keeps the traffic of ``model``."""

    model: str
    host: str
    folder: str
    reported_at: datetime


@dataclass(frozen=True, slots=True)
class DriftProfile(_Record):
    """The profile of a model's bytes (``digest``): the stored file ``profile_digest``, learned from ``data_digest``."""

    id: int
    digest: str
    profile_digest: str
    data_digest: str
    fitted_at: datetime
    fitted_by: str


@dataclass(frozen=True, slots=True)
class DriftRun(_Record):
    """One drift check of a window against a profile, and what it found, as ``document``."""

    id: int
    run_key: str
    profile_id: int
    window_digest: str
    window_start: datetime | None
    window_end: datetime | None
    rows: int
    verdict: str
    document: Mapping[str, Any]
    ran_at: datetime
    ran_by: str


@dataclass(frozen=True, slots=True)
class Revisions(_Record):
    """The schema's revision before and after a call (None: no schema), and the one this code needs."""

    before: str | None
    after: str | None
    head: str

    @property
    def in_sync(self) -> bool:
        return self.after == self.head

    def to_dict(self) -> dict[str, Any]:
        return {**_Record.to_dict(self), "in_sync": self.in_sync}
