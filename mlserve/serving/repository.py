"""The versions in memory: which are loaded, which answers for a name, and how one takes over from another.

    aim(wanted) ─► place what is loaded ─► for each version that is not: load in a thread ──fails──► reason noted
        │                                                │
        │                 one assignment on the loop: requests from here on go to the new version
        │                                                │
        └─► loads of what is no longer wanted            the old one answers what it has, then lets its memory go
            are abandoned

A name goes on being answered by the version that was in production until the next one is loaded and warm. ``load`` and
``unload`` change what is wanted of one name on demand, in the same way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from mlserve.core.refs import Stage
from mlserve.errors import MlserveError
from mlserve.serving.directory import Directory
from mlserve.serving.entries import Entry, failure_of
from mlserve.serving.events import Emit
from mlserve.serving.loaded import Loaded
from mlserve.serving.loading import Wanted
from mlserve.serving.loads import OVERTAKE_S, Loads

log = logging.getLogger(__name__)

LOAD_TIMEOUT_S = 600.0


class Repository(Directory):
    """A directory that loads what is wanted and lets go of the rest.

    Everything but ``load``, which runs in threads of its own, happens on the loop's thread. ``key_input`` is the input
    that holds a request's unit key, where the request itself has none. ``has_changed`` is set whenever a version begins
    or ceases to answer or cannot be loaded.
    """

    def __init__(
        self,
        names: Iterable[str],
        load: Callable[[Wanted], Loaded],
        *,
        on_event: Emit,
        load_timeout_s: float = LOAD_TIMEOUT_S,
        overtake_s: float = OVERTAKE_S,
        key_input: str | None = None,
    ) -> None:
        super().__init__(names)
        self._load = load
        self._loads = Loads(load_timeout_s, overtake_s)
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._on_event = on_event
        self._key_input = key_input
        self._draining = 0
        self._has_drained = asyncio.Event()
        self.has_changed = asyncio.Event()

    async def apply(self, wanted: Sequence[Wanted]) -> None:
        """``aim``, and wait for what it loads. Never raises for what cannot be loaded."""
        self.aim(wanted)
        await self.settled()

    def aim(self, wanted: Sequence[Wanted]) -> None:
        """Make the versions that hold stages those of ``wanted``, for every name; what must be loaded begins to load.

        A name that nobody waits for is known as long as one of its versions is wanted.
        """
        for one in wanted:
            self._entries.setdefault(one.name, Entry())
        for name, entry in list(self._entries.items()):
            entry.staged = {one.version: one for one in wanted if one.name == name}
            self._place(name, entry)
        self._start_loads()
        for name, entry in list(self._entries.items()):
            if name not in self._awaited and entry.is_needless:
                del self._entries[name]
        self._has_applied = True

    async def settled(self) -> None:
        """Until nothing loads any more."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def load(self, name: str, wanted: Sequence[Wanted] | None) -> None:
        """Load ``wanted`` beside what is loaded, or (None) all that stands in the stages of ``name``, tried again.

        Versions stay until ``unload``. Loads that are under way already are waited for, not begun again. Raises
        NotFound, and the reason why the first of them could not be loaded, production before others.
        """
        entry = self._entry(name)
        entry.unloaded = None
        if wanted is None:
            if not entry.staged:
                raise entry.why_not(name, None)
            asked = list(entry.wanted)
        else:
            entry.asked |= {one.version: one for one in wanted}
            asked = [one.version for one in wanted]
        for version in asked:
            entry.failures.pop(version, None)
        self._place(name, entry)
        self._start_loads()
        tasks = [self._tasks[name, version] for version in asked if (name, version) in self._tasks]
        if tasks:
            await asyncio.wait(tasks)
        for version in asked:
            if version in entry.failures:
                raise entry.failures[version].error
            if version not in entry.versions:
                raise entry.why_not(name, version)

    async def reload(self, wanted: Wanted) -> None:
        """Load a version again that may have changed, and let it take the place of what there is of it.

        Raises the reason why it cannot be loaded; what was loaded before then goes on answering.
        """
        entry = self._entry(wanted.name)
        entry.unloaded = None
        task = self._tasks.get((wanted.name, wanted.version))
        if task is None:
            entry.failures.pop(wanted.version, None)
            entry.stale.pop(wanted.version, None)
            task = self._start(entry, wanted)
        await asyncio.wait((task,))
        failure = entry.failures.get(wanted.version) or entry.stale.get(wanted.version)
        if failure is not None:
            raise failure.error
        if wanted.version not in entry.versions:
            raise entry.why_not(wanted.name, wanted.version)

    async def unload(self, name: str) -> None:
        """Let all of ``name`` go, and keep it away until ``load``. Returns when its last request is answered.

        Raises NotFound.
        """
        entry = self._entry(name)
        entry.unloaded = tuple(sorted({*entry.versions, *(entry.unloaded or ())}))
        entry.asked.clear()
        self._place(name, entry)
        await self._until(lambda: not entry.draining)

    def forget(self, name: str, version: int) -> None:
        """Let a version go that was loaded on demand, unless it holds a stage."""
        entry = self._entry(name)
        if entry.asked.pop(version, None) is not None:
            self._place(name, entry)

    async def drained(self) -> None:
        """Until every version that was replaced has answered its last request."""
        await self._until(lambda: not self._draining)

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._has_drained.clear()
            await self._has_drained.wait()

    def abandon(self) -> None:
        """Give up all loads, at the end of the server."""
        for task in self._tasks.values():
            task.cancel()

    def _start_loads(self) -> None:
        now_s = asyncio.get_running_loop().time()
        missing = [
            (entry, one)
            for entry in self._entries.values()
            for one in entry.wanted.values()
            if one.version not in entry.versions and (one.name, one.version) not in self._tasks
        ]
        # Production first: what most requests wait for is not kept by a challenger that is slow to load.
        for entry, one in sorted(missing, key=lambda pair: Stage.PRODUCTION not in pair[1].stages):
            failure = entry.failures.get(one.version)
            if failure is None or failure.is_due(one, now_s):
                self._start(entry, one)

    def _start(self, entry: Entry, wanted: Wanted) -> asyncio.Task[None]:
        entry.loading[wanted.version] = wanted
        key = wanted.name, wanted.version
        task = self._tasks[key] = asyncio.get_running_loop().create_task(self._load_into(entry, wanted))
        task.add_done_callback(partial(self._after_load, key))
        return task

    def _after_load(self, key: tuple[str, int], task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled() and task.exception() is not None:
            log.error("loading %s:%s", *key, exc_info=task.exception())

    async def _load_into(self, entry: Entry, wanted: Wanted) -> None:
        loop = asyncio.get_running_loop()
        name, version = wanted.name, wanted.version
        start_s = loop.time()
        try:
            loaded = await self._loads.run(partial(self._load, wanted), Loaded.retire, f"{name}:{version}")
        except Exception as error:
            if not isinstance(error, MlserveError):
                log.exception("%s:%s broke the loader", name, version)
            failure = failure_of(wanted, error, entry.failures.get(version), loop.time())
            # What is loaded is not missing, so nobody has to try again unasked.
            (entry.stale if version in entry.versions else entry.failures)[version] = failure
            self._emit("failed", name, version, reason=failure.reason, retry=failure.retry_at_s is not None)
            self.has_changed.set()
            return
        finally:
            if entry.loading.get(version) is wanted:
                del entry.loading[version]
        entry.failures.pop(version, None)
        entry.stale.pop(version, None)
        replaced = entry.versions.get(version)
        entry.versions[version] = loaded
        tuned = {"tuned": loaded.view.tuned} if loaded.view.tuned else {}
        self._emit("loaded", name, version, load_ms=round(1e3 * (loop.time() - start_s), 1), **tuned)
        self._place(name, entry)
        if replaced is not None:
            self._retire(entry, replaced)

    def _place(self, name: str, entry: Entry) -> None:
        """Point the name at what should answer, if it is loaded, and retire what nobody can ask for any more."""
        self._abandon_needless(name, entry)
        previous = entry.production
        entry.point(self._key_input)
        for version in entry.needless():
            entry.stale.pop(version, None)
            self._retire(entry, entry.versions.pop(version))
        wanted = entry.wanted
        entry.failures = {version: failure for version, failure in entry.failures.items() if version in wanted}
        entry.refresh_views()
        if entry.production is not previous:
            self._emit_swap(name, previous, entry.production)
        self.has_changed.set()

    def _abandon_needless(self, name: str, entry: Entry) -> None:
        """Give up loads of what is no longer wanted, or wanted with other bytes."""
        wanted = entry.wanted
        for version, one in list(entry.loading.items()):
            now = wanted.get(version)
            if now is None or now.digest != one.digest:
                del entry.loading[version]
                self._tasks.pop((name, version)).cancel()
                self._emit("abandoned", name, version)

    def _emit_swap(self, name: str, previous: Loaded | None, now: Loaded | None) -> None:
        if now is None:
            self._emit("withdrawn", name, None, previous=None if previous is None else previous.version)
        else:
            self._emit("swapped", name, now.version, previous=None if previous is None else previous.version)

    def _retire(self, entry: Entry, loaded: Loaded) -> None:
        entry.draining.add(loaded)
        self._draining += 1
        loaded.on_drained = partial(self._after_drain, entry)
        loaded.retire()

    def _after_drain(self, entry: Entry, loaded: Loaded) -> None:
        entry.draining.discard(loaded)
        self._draining -= 1
        self._has_drained.set()
        self._emit("unloaded", loaded.name, loaded.version)

    def _emit(self, event: str, name: str, version: int | None, **more: Any) -> None:
        self._on_event({"event": event, "model": name, "version": version, **more})
