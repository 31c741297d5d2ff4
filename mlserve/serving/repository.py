"""The versions in memory: which are loaded, which answers for a name, and how one takes over from another.

    apply(wanted) ─► for each version not loaded: load in the loader's thread ──fails──► kept as it was, reason noted
                                                        │
                          one assignment on the loop: requests from here on go to the new version
                                                        │
                                   the old one answers what it has, then lets its memory go

A name goes on being answered by the version that was in production until the next one is loaded and warm.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from mlserve.core.refs import Stage, did_you_mean
from mlserve.errors import CorruptArtefact, MlserveError, NotFound, Unavailable
from mlserve.serving.events import Emit
from mlserve.serving.loaded import Loaded
from mlserve.serving.loading import Wanted
from mlserve.serving.seam import ModelState, ModelStatus

log = logging.getLogger(__name__)

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 60.0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a version is not loaded, and when to try again (None: only when something about it changes)."""

    wanted: Wanted
    error: Exception
    attempts: int
    retry_at_s: float | None

    def is_due(self, wanted: Wanted, now_s: float) -> bool:
        if (wanted.digest, wanted.generation) != (self.wanted.digest, self.wanted.generation):
            return True
        return self.retry_at_s is not None and now_s >= self.retry_at_s

    @property
    def reason(self) -> str:
        return self.error.message if isinstance(self.error, MlserveError) else "it broke the loader; see the log"


@dataclass(slots=True)
class _Entry:
    """One name: its loaded versions, the one in production, and what is under way."""

    versions: dict[int, Loaded] = field(default_factory=dict)
    production: Loaded | None = None
    loading: int | None = None
    failures: dict[int, Failure] = field(default_factory=dict)


class Repository:
    """What can be asked for. Everything but ``load``, which runs in ``executor``, happens on the loop's thread."""

    def __init__(
        self, names: Iterable[str], load: Callable[[Wanted], Loaded], executor: Executor, *, on_event: Emit
    ) -> None:
        self._entries: dict[str, _Entry] = {}
        self._awaited: set[str] = set()
        self.wait_for(names)
        self._load = load
        self._executor = executor
        self._on_event = on_event
        self._has_applied = False
        self._draining: set[Loaded] = set()
        self._is_drained = asyncio.Event()
        self._is_drained.set()

    def wait_for(self, names: Iterable[str]) -> None:
        """Take ``names`` for known from now on: they are not ready, rather than not found, until something loads."""
        for name in names:
            self._entries.setdefault(name, _Entry())
            self._awaited.add(name)

    @property
    def is_settled(self) -> bool:
        """Whether every name that is waited for has a version in production that is loaded and warm."""
        return self._has_applied and all(self._entries[name].production is not None for name in self._awaited)

    @property
    def failures(self) -> list[Failure]:
        return [failure for entry in self._entries.values() for failure in entry.failures.values()]

    def find(self, name: str, version: int | None) -> Loaded:
        """The version that answers. Raises NotFound, or Unavailable for what is known and not ready yet."""
        entry = self._entries.get(name)
        if entry is None:
            raise NotFound(f"no model '{name}'", hint=did_you_mean(name, self._entries))
        loaded = entry.production if version is None else entry.versions.get(version)
        if loaded is None:
            raise _not_there(name, version, entry)
        return loaded

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
        """A line for every version loaded, loading or failed, and for names without any; by name and version."""
        lines = []
        for name, entry in sorted(self._entries.items()):
            found = {version: ModelStatus(name, str(version), ModelState.READY) for version in entry.versions}
            for version, failure in entry.failures.items():
                found.setdefault(version, ModelStatus(name, str(version), ModelState.UNAVAILABLE, failure.reason))
            if entry.loading is not None:
                found.setdefault(entry.loading, ModelStatus(name, str(entry.loading), ModelState.LOADING))
            lines += [found[version] for version in sorted(found)]
            if not found:
                lines.append(ModelStatus(name, None, ModelState.UNAVAILABLE, "no version in production yet"))
        return lines

    def is_retry_due(self, now_s: float) -> bool:
        """Whether a version that could not be loaded should be tried again although nothing has changed."""
        return any(failure.retry_at_s is not None and now_s >= failure.retry_at_s for failure in self.failures)

    async def apply(self, wanted: Sequence[Wanted]) -> None:
        """Make the loaded versions those of ``wanted``, for every name. Never raises for what cannot be loaded.

        A name that nobody waits for is known as long as one of its versions is wanted.
        """
        for one in wanted:
            self._entries.setdefault(one.name, _Entry())
        for name, entry in list(self._entries.items()):
            await self._apply_to(name, entry, [one for one in wanted if one.name == name])
        for name in self._entries.keys() - self._awaited - {one.name for one in wanted}:
            del self._entries[name]
        self._has_applied = True

    async def drained(self) -> None:
        """Until every version that was replaced has answered its last request."""
        await self._is_drained.wait()

    async def _apply_to(self, name: str, entry: _Entry, wanted: list[Wanted]) -> None:
        self._place(name, entry, wanted)
        # Production first: what most requests wait for is not kept by a challenger that is slow to load.
        for one in sorted(wanted, key=lambda w: (Stage.PRODUCTION not in w.stages, w.version)):
            if self._must_load(entry, one):
                await self._load_into(entry, one)
                self._place(name, entry, wanted)

    def _must_load(self, entry: _Entry, wanted: Wanted) -> bool:
        if wanted.version in entry.versions:
            return False
        failure = entry.failures.get(wanted.version)
        return failure is None or failure.is_due(wanted, asyncio.get_running_loop().time())

    async def _load_into(self, entry: _Entry, wanted: Wanted) -> None:
        loop = asyncio.get_running_loop()
        entry.loading = wanted.version
        start_s = loop.time()
        try:
            loaded = await loop.run_in_executor(self._executor, self._load, wanted)
        except Exception as error:
            if not isinstance(error, MlserveError):
                log.exception("%s:%s broke the loader", wanted.name, wanted.version)
            before = entry.failures.get(wanted.version)
            failure = _failure(wanted, error, 1 + (before.attempts if before else 0), loop.time())
            entry.failures[wanted.version] = failure
            self._emit(
                "failed", wanted.name, wanted.version, reason=failure.reason, retry=failure.retry_at_s is not None
            )
            return
        finally:
            entry.loading = None
        entry.failures.pop(wanted.version, None)
        entry.versions[wanted.version] = loaded
        self._emit("loaded", wanted.name, wanted.version, load_ms=round(1e3 * (loop.time() - start_s), 1))

    def _place(self, name: str, entry: _Entry, wanted: list[Wanted]) -> None:
        """Point the name at what should answer, if it is loaded, and retire what nobody can ask for any more."""
        stages = {one.version: one.stages for one in wanted}
        target = next((one.version for one in wanted if Stage.PRODUCTION in one.stages), None)
        previous = entry.production
        if target is None:
            entry.production = None
        elif target in entry.versions:
            entry.production = entry.versions[target]
        kept = entry.production
        for version in [version for version in entry.versions if version not in stages]:
            if kept is None or version != kept.version:
                self._retire(entry.versions.pop(version))
        entry.failures = {version: failure for version, failure in entry.failures.items() if version in stages}
        versions = tuple(str(version) for version in sorted(entry.versions))
        for version, loaded in entry.versions.items():
            loaded.refresh_view(versions, _stages_held(stages.get(version, ()), is_production=loaded is kept))
        if kept is not previous:
            self._emit_swap(name, previous, kept)

    def _emit_swap(self, name: str, previous: Loaded | None, now: Loaded | None) -> None:
        if now is None:
            self._emit("withdrawn", name, None, previous=None if previous is None else previous.version)
        else:
            self._emit("swapped", name, now.version, previous=None if previous is None else previous.version)

    def _retire(self, loaded: Loaded) -> None:
        self._draining.add(loaded)
        self._is_drained.clear()
        loaded.on_drained = self._after_drain
        loaded.retire()

    def _after_drain(self, loaded: Loaded) -> None:
        self._draining.discard(loaded)
        if not self._draining:
            self._is_drained.set()
        self._emit("unloaded", loaded.name, loaded.version)

    def _emit(self, event: str, name: str, version: int | None, **more: Any) -> None:
        self._on_event({"event": event, "model": name, "version": version, **more})


def _stages_held(stages: Iterable[str], *, is_production: bool) -> tuple[str, ...]:
    """Production is what really answers: not the stage's holder while it is loading, but the one before it."""
    others = tuple(str(stage) for stage in stages if stage != Stage.PRODUCTION)
    return (*others, str(Stage.PRODUCTION)) if is_production else others


def _failure(wanted: Wanted, error: Exception, attempts: int, now_s: float) -> Failure:
    """What is out of reach, missing or damaged may come back; a model that cannot be used stays as it is."""
    if isinstance(error, (Unavailable, NotFound, CorruptArtefact)):
        wait_s = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** (attempts - 1))
        return Failure(wanted, error, attempts, now_s + wait_s)
    return Failure(wanted, error, attempts, None)


def _not_there(name: str, version: int | None, entry: _Entry) -> MlserveError:
    if version is not None:
        if version == entry.loading:
            return Unavailable(f"{name}:{version} is still loading")
        if version in entry.failures:
            return Unavailable(f"{name}:{version} is not ready: {entry.failures[version].reason}")
        there = ", ".join(str(loaded) for loaded in sorted(entry.versions)) or "none"
        return NotFound(f"version {version} of '{name}' is not loaded (loaded: {there})")
    if entry.loading is not None:
        return Unavailable(f"model '{name}' is still loading")
    if entry.failures:
        failure = next(iter(entry.failures.values()))
        return Unavailable(f"model '{name}' is not ready: {failure.reason}")
    return Unavailable(
        f"model '{name}' has no version in production yet", hint=f"mlserve promote {name}:VERSION --to production"
    )
