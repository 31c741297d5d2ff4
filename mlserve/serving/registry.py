"""The registry as the server's upstream: placements, verified files, golden rows, certificates and heartbeats."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mlserve.core.evidence import Evidence, tool_versions
from mlserve.core.refs import ModelRef, Stage
from mlserve.errors import Conflict, InvalidInput, MlserveError
from mlserve.registry import following as registry_following
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.captures import report_captures
from mlserve.registry.evidencing import add_evidence, evidence_of
from mlserve.registry.records import Placement as Record
from mlserve.registry.records import Version
from mlserve.registry.store import Store
from mlserve.registry.versions import get_version, list_versions
from mlserve.runtime.certificate import Certificate
from mlserve.runtime.tuned import profiles_in
from mlserve.serving.following import GONE, NOWHERE, Placement
from mlserve.serving.loading import Fetched

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """This server, as the registry lists it."""

    instance_id: str
    host: str
    pid: int
    started_at: datetime


@dataclass(slots=True)
class RegistryUpstream:
    """``following.Upstream`` on a store and its artefacts. ``clock`` gives UTC.

    ``capture`` is where this server captures what it is asked, if it does; the registry is told, once a model.
    """

    store: Store
    artefacts: ArtefactStore
    identity: Identity
    clock: Callable[[], datetime]
    capture: Path | None = None
    _captured: set[str] = field(default_factory=set)
    _records: dict[tuple[str, int], Record] = field(default_factory=dict)
    _unstaged: dict[tuple[str, int], Version] = field(default_factory=dict)
    _follows_all: bool = False

    def epoch(self) -> int:
        return registry_following.epoch(self.store)

    def placements(self, names: Sequence[str] | None) -> list[Placement]:
        records = registry_following.placements(self.store, names)
        self._follows_all = names is None
        for name in set(names or ()) - {record.name for record in records}:
            list_versions(self.store, name, limit=1)  # raises NotFound for a model that is not there
        self._records = {(record.name, record.version): record for record in records}
        return [
            Placement(record.name, str(record.stage), record.version, record.generation, record.digest, record.traffic)
            for record in records
        ]

    def unstaged(self, name: str, version: int) -> Placement:
        found = get_version(self.store, ModelRef(name, version))
        if found.state == "archived":
            raise Conflict(f"'{found.ref}' is archived", hint=f"mlserve unarchive {found.ref}")
        self._unstaged[name, version] = found
        return Placement(name, NOWHERE, version, 0, found.digest)

    def fetch(self, placement: Placement) -> Fetched:
        key = placement.name, placement.version
        record = self._records.get(key) or self._unstaged[key]
        try:
            path = self.artefacts.open_local(record.manifest)
            golden = None if record.golden is None else self.artefacts.read(record.golden)
        except MlserveError as error:
            # Clients read the reason; where the store and its cache lie is for the log alone.
            log.warning("%s:%s: %s", *key, error.message)
            raise without_paths(error, f"{placement.name}:{placement.version}") from error
        evidence = evidence_of(self.store, record.digest)
        return Fetched(path, golden, latest_certificate(evidence), profiles_in(evidence))

    def record(self, digest: str, kind: str, figures: Mapping[str, Any], data_digest: str) -> None:
        measured = Evidence(
            kind=kind,
            digest=digest,
            passed=None,
            figures=figures,
            measured_at=self.clock(),
            measured_by=f"serve@{self.identity.host}",
            data_digest=data_digest,
            tools=tool_versions("onnxruntime", "numpy"),
        )
        add_evidence(self.store, measured)

    def report(
        self, loaded: Mapping[tuple[str, str], int], failures: Mapping[tuple[str, int], str], status: str
    ) -> None:
        if status == GONE:
            registry_following.forget_instance(self.store, self.identity.instance_id)
            return
        self._report_captures({name for name, _ in loaded})
        answered = {(name, Stage(stage)): generation for (name, stage), generation in loaded.items()}
        if self._follows_all:
            answered[registry_following.EVERY_MODEL, Stage.PRODUCTION] = 0
        registry_following.report_instance(
            self.store,
            self.identity.instance_id,
            host=self.identity.host,
            pid=self.identity.pid,
            started_at=self.identity.started_at,
            now=self.clock(),
            loaded=answered,
            failures=failures,
            status=status,
        )

    def _report_captures(self, models: set[str]) -> None:
        fresh = models - self._captured
        if self.capture is None or not fresh:
            return
        folder = str(self.capture.absolute())
        report_captures(self.store, fresh, host=self.identity.host, folder=folder, now=self.clock())
        self._captured |= fresh


_PLACE = re.compile(r"[/\\]\w")
_QUOTED_PLACE = re.compile(r"'[^']*(?:/|\\)[^']*'")


def without_paths(error: MlserveError, ref: str) -> MlserveError:
    """An error of ``error``'s class that says the same of ``ref`` without saying where files or buckets are.

    >>> without_paths(InvalidInput("cannot write to the cache '/var/x': disk full"), "fraud:7").message
    "cannot write to the cache '…': disk full"
    """
    message = _QUOTED_PLACE.sub("'…'", error.message)
    return type(error)(f"{ref} cannot be had from the artefact store" if _PLACE.search(message) else message)


def latest_certificate(evidence: Sequence[Evidence]) -> Certificate | None:
    """The newest certificate that this registry's own commands measured; an imported one proves nothing here."""
    found = [item for item in evidence if item.kind == "certificate" and item.origin == "measured"]
    for item in sorted(found, key=lambda item: item.measured_at, reverse=True):
        try:
            return Certificate.from_dict(item.figures)
        except InvalidInput:
            continue
    return None
