"""The registry as the server's upstream: placements, verified files, golden rows, certificates and heartbeats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mlserve.core.evidence import Evidence
from mlserve.core.refs import Stage
from mlserve.errors import InvalidInput
from mlserve.registry import following as registry_following
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.evidencing import evidence_of
from mlserve.registry.records import Placement as Record
from mlserve.registry.store import Store
from mlserve.registry.versions import list_versions
from mlserve.runtime.certificate import Certificate
from mlserve.serving.following import GONE, Placement
from mlserve.serving.loading import Fetched


@dataclass(frozen=True, slots=True)
class Identity:
    """This server, as the registry lists it."""

    instance_id: str
    host: str
    pid: int
    started_at: datetime


@dataclass(slots=True)
class RegistryUpstream:
    """``following.Upstream`` on a store and its artefacts. ``clock`` gives UTC."""

    store: Store
    artefacts: ArtefactStore
    identity: Identity
    clock: Callable[[], datetime]
    _records: dict[tuple[str, int], Record] = field(default_factory=dict)
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
            Placement(record.name, str(record.stage), record.version, record.generation, record.digest)
            for record in records
        ]

    def fetch(self, placement: Placement) -> Fetched:
        record = self._records[placement.name, placement.version]
        path = self.artefacts.open_local(record.manifest)
        golden = None if record.golden is None else self.artefacts.read(record.golden)
        return Fetched(path, golden, latest_certificate(evidence_of(self.store, record.digest)))

    def report(self, loaded: Mapping[tuple[str, str], int], status: str) -> None:
        if status == GONE:
            registry_following.forget_instance(self.store, self.identity.instance_id)
            return
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
            status=status,
        )


def latest_certificate(evidence: Sequence[Evidence]) -> Certificate | None:
    """The newest certificate that this registry's own commands measured; an imported one proves nothing here."""
    found = [item for item in evidence if item.kind == "certificate" and item.origin == "measured"]
    for item in sorted(found, key=lambda item: item.measured_at, reverse=True):
        try:
            return Certificate.from_dict(item.figures)
        except InvalidInput:
            continue
    return None
