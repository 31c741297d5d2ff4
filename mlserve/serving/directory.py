"""Names → the versions that answer for them, as they stand at the moment. Looks up and tells; changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mlserve.core.refs import Stage, did_you_mean
from mlserve.errors import NotFound
from mlserve.serving.entries import Entry, Failure, no_stage
from mlserve.serving.loaded import Loaded
from mlserve.serving.loading import Wanted
from mlserve.serving.seam import InferRequest, ModelState, ModelStatus


class Directory:
    """What can be asked for. ``names`` are known from the start, and waited for."""

    def __init__(self, names: Iterable[str]) -> None:
        self._entries: dict[str, Entry] = {}
        self._awaited: set[str] = set()
        self._has_applied = False
        self.elsewhere: Callable[[], Iterable[ModelStatus]] = tuple
        self.wait_for(names)

    def wait_for(self, names: Iterable[str]) -> None:
        """Take ``names`` for known from now on: they are not ready, rather than not found, until something loads."""
        for name in names:
            self._entries.setdefault(name, Entry())
            self._awaited.add(name)

    def know(self, name: str) -> None:
        """Take ``name`` for known, as one that nobody waits for."""
        self._entries.setdefault(name, Entry())

    def check_known(self, name: str) -> None:
        """Raises NotFound, with the nearest name, for one that is not known."""
        self._entry(name)

    @property
    def is_settled(self) -> bool:
        """Whether every name that is waited for has a version in production that is loaded and warm."""
        return self._has_applied and all(self._entries[name].production is not None for name in self._awaited)

    @property
    def failures(self) -> list[Failure]:
        return [failure for entry in self._entries.values() for failure in entry.failures.values()]

    @property
    def asked(self) -> list[Wanted]:
        """The versions that were loaded on demand."""
        return [one for entry in self._entries.values() for one in entry.asked.values()]

    @property
    def unloaded(self) -> list[str]:
        """The names that were unloaded on demand."""
        return sorted(name for name, entry in self._entries.items() if entry.unloaded is not None)

    def is_unloaded(self, name: str) -> bool:
        """Whether ``name`` was unloaded on demand, and stays so until it is loaded again."""
        return name in self._entries and self._entries[name].unloaded is not None

    def route(self, request: InferRequest) -> Loaded:
        """The version that answers ``request``: as ``find``, but the challenger for its share of production's."""
        entry = self._entries.get(request.model)
        if entry is not None and request.version is None:
            if entry.split is not None:
                return entry.split.choose(request)
            if entry.production is not None:
                return entry.production
        return self.find(request.model, request.version)

    def champion_over(self, challenger: Loaded) -> Loaded | None:
        """The version that answers in place of ``challenger`` where that cannot; None where it is none."""
        entry = self._entries.get(challenger.name)
        split = None if entry is None else entry.split
        return split.champion if split is not None and split.challenger is challenger else None

    def find(self, name: str, version: int | None) -> Loaded:
        """The version that answers. ``name`` may be ``NAME@STAGE``, for what stands there.

        Raises NotFound, or Unavailable for what is known and not ready yet.
        """
        entry = self._entries.get(name)
        if entry is None:
            return self._find_in_stage(name, version)
        loaded = entry.production if version is None else entry.versions.get(version)
        if loaded is None:
            raise entry.why_not(name, version)
        return loaded

    def _find_in_stage(self, text: str, version: int | None) -> Loaded:
        name, at, stage = text.partition("@")
        entry = self._entries.get(name)
        if entry is None or version is not None or not at:
            raise NotFound(f"no model '{text}'", hint=did_you_mean(name, self._entries))
        if stage == Stage.PRODUCTION:
            return self.find(name, None)
        held = entry.holder(stage)
        if held is None:
            raise no_stage(name, stage)
        return self.find(name, held)

    def holds(self, name: str, stage: str, version: int) -> bool:
        """Whether requests for ``stage`` of ``name`` are answered by ``version``."""
        loaded = self._entries[name].versions.get(version) if name in self._entries else None
        return loaded is not None and stage in loaded.stages

    def in_production(self) -> list[Loaded]:
        """What answers requests that name no version, by name."""
        return [entry.production for _, entry in sorted(self._entries.items()) if entry.production is not None]

    def loaded(self) -> list[Loaded]:
        """Every version that can be asked for, by name and version."""
        return [
            entry.versions[version] for _, entry in sorted(self._entries.items()) for version in sorted(entry.versions)
        ]

    def statuses(self) -> list[ModelStatus]:
        """A line for every version loaded, loading or failed, and for names without any; by name and version.

        ``elsewhere`` says how versions fare that other processes have too, or alone; those answer nobody.
        """
        lines = [line for name, entry in sorted(self._entries.items()) for line in entry.statuses(name)]
        others = {(line.name, line.version): line for line in self.elsewhere()}
        if not others:
            return lines
        for at, line in enumerate(lines):
            other = others.pop((line.name, line.version), None)
            if other is not None and other.state is ModelState.UNAVAILABLE and not line.reason:
                lines[at] = ModelStatus(line.name, line.version, line.state, other.reason)
        lines += [
            ModelStatus(line.name, line.version, ModelState.UNAVAILABLE, "in shadow, and answers nobody")
            if line.state is ModelState.READY
            else line
            for line in others.values()
        ]
        return sorted(lines, key=lambda line: (line.name, int(line.version or 0)))

    def is_retry_due(self, now_s: float) -> bool:
        """Whether a version that could not be loaded should be tried again although nothing has changed."""
        return any(failure.retry_at_s is not None and now_s >= failure.retry_at_s for failure in self.failures)

    def _entry(self, name: str) -> Entry:
        entry = self._entries.get(name)
        if entry is None:
            raise NotFound(f"no model '{name}'", hint=did_you_mean(name, self._entries))
        return entry
