"""Following the registry: a poll of one number each second; when it has moved, what stands where, and then the swap.

    epoch() ──same──► nothing          both in a thread of their own: a database that hangs keeps nobody waiting
       └────moved──► placements() ──► Repository.aim ──► has_changed ──► report()

Notifications of a database vanish when a connection is lost; a poll of one row costs microseconds and never does. While
the registry is out of reach, what is loaded goes on answering. Polls don't wait for loads: a version that hangs while
it loads is abandoned as soon as the registry no longer wants it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mlserve.core.refs import Stage
from mlserve.errors import Conflict, MlserveError, NotFound, Unsupported
from mlserve.serving.events import Emit
from mlserve.serving.loading import Fetched, Wanted
from mlserve.serving.repository import Repository

if TYPE_CHECKING:
    from mlserve.serving.shadow.shadows import Shadows

log = logging.getLogger(__name__)

Result = TypeVar("Result")

GONE = "gone"
NOWHERE = ""
"""The stage of a version that stands in none."""
REPORT_S = 5.0
"""How often a server that has nothing new to say tells the registry that it is alive."""


@dataclass(frozen=True, slots=True)
class Placement:
    """``version`` of ``name`` stands in ``stage``, since the move that made it ``generation``.

    ``traffic`` is the share of requests that the stage gets, from 0 to 1, None where none was recorded.
    """

    name: str
    stage: str
    version: int
    generation: int
    digest: str
    traffic: float | None = None


class Upstream(Protocol):
    """Where stages are kept. Called from one thread at a time, but for ``fetch``, which the loader's thread calls."""

    def epoch(self) -> int:
        """A number that grows with every change of a stage. Raises Unavailable."""

    def placements(self, names: Sequence[str] | None) -> Sequence[Placement]:
        """What stands in the stages of ``names``, or of all models. Raises NotFound for an unknown one, Unavailable."""

    def unstaged(self, name: str, version: int) -> Placement:
        """Any version, in the stage ``NOWHERE``. Raises NotFound, Conflict for an archived one, Unavailable."""

    def fetch(self, placement: Placement) -> Fetched:
        """The version's files, verified, on this machine. Raises Unavailable, CorruptArtefact."""

    def report(
        self, loaded: Mapping[tuple[str, str], int], failures: Mapping[tuple[str, int], str], status: str
    ) -> None:
        """This server is alive, and answers for each (name, stage) as of the generation given, 0 being not at all.

        ``failures`` are the (name, version) that it could not load, and why. ``status`` is "ready", or ``GONE`` once.
        Raises Unavailable.
        """

    def record(self, digest: str, kind: str, figures: Mapping[str, Any], data_digest: str) -> None:
        """Keep ``figures`` as evidence of the model ``digest``, measured here and now. Raises Unavailable."""


def wanted_of(placements: Iterable[Placement], upstream: Upstream) -> list[Wanted]:
    """One entry a version, with all the stages it holds."""
    grouped: dict[tuple[str, int], list[Placement]] = {}
    for placement in placements:
        grouped.setdefault((placement.name, placement.version), []).append(placement)
    return [
        Wanted(
            name=name,
            version=version,
            stages=tuple(sorted(str(held.stage) for held in group if held.stage != NOWHERE)),
            digest=group[0].digest,
            fetch=partial(upstream.fetch, group[0]),
            generation=max(held.generation for held in group),
            traffic=next((held.traffic or 0.0 for held in group if held.stage == Stage.CHALLENGER), 0.0),
        )
        for (name, version), group in grouped.items()
    ]


class Follower:
    """Keeps a repository at what the registry says, from ``start`` until it is cancelled.

    ``fixed`` are versions that no registry knows: files given on the command line. ``names`` None is every model, those
    that come later too; what is in production at start is then what readiness waits for. ``load`` and ``unload`` are
    ``seam.Engine``'s. With ``shadows``, what stands in stage ``shadow`` is run beside production.
    """

    def __init__(
        self,
        repository: Repository,
        fixed: Sequence[Wanted],
        *,
        upstream: Upstream | None = None,
        names: Sequence[str] | None = (),
        executor: Executor | None = None,
        poll_s: float = 1.0,
        on_event: Emit,
        shadows: Shadows | None = None,
    ) -> None:
        self._repository = repository
        self._shadows = shadows
        self._fixed = list(fixed)
        self._upstream = None if names is not None and not names else upstream
        self._names = names
        self._executor = executor
        self._poll_s = poll_s
        self._on_event = on_event
        self._epoch: int | None = None
        self._placements: list[Placement] = []
        self._is_reachable = True
        self._is_started = False

    async def start(self) -> None:
        """Load everything that stands somewhere now.

        Raises what the registry raises when it cannot be asked, and the reason why a version named at start (a file, or
        what stands in production) cannot be loaded.
        """
        if self._upstream is not None:
            self._epoch = await self._call(self._upstream.epoch)
            self._placements = list(await self._call(self._upstream.placements, self._names))
        if self._names is None:
            self._repository.wait_for(held.name for held in self._placements if held.stage == Stage.PRODUCTION)
        self._aim()
        await self._repository.settled()
        for failure in self._repository.failures:
            if Stage.PRODUCTION in failure.wanted.stages:
                raise failure.error
        self._is_started = True
        if self._shadows is not None:
            self._aim()
        self._repository.has_changed.clear()
        await self._report("ready")

    async def run(self) -> None:
        """Poll and report until cancelled. Nothing that goes wrong out there ends it."""
        if self._upstream is None:
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forever(self._poll, self._upstream, self._poll_s))
            # Apart from the polls, which wait while a version loads: a server that loads for long is still alive.
            tasks.create_task(self._forever(self._beat, self._upstream, REPORT_S))
            tasks.create_task(self._forever(self._tell_change, self._upstream, 0.0))

    async def stop(self) -> None:
        """Tell the registry that this server is gone, so that nobody waits for it to swap."""
        await self._report(GONE)

    async def _forever(self, step: Callable[[Upstream], Awaitable[None]], upstream: Upstream, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                await step(upstream)
                self._note_reachable()
            except MlserveError as error:
                self._note_unreachable(error)
            except Exception:
                log.exception("following the registry")

    async def load(self, model: str, versions: Sequence[int] | None = None) -> None:
        fixed = [one for one in self._fixed if one.name == model]
        if fixed:
            for number in versions or ():
                if number != fixed[0].version:
                    raise NotFound(f"no version {number} of '{model}': it is a file, served as version 1")
            await self._repository.reload(fixed[0])
            return
        upstream = self._upstream_of(model)
        if versions is None:
            # What was promoted a moment ago is meant too.
            await self._look(upstream)
            await self._repository.load(model, None)
            return
        found = [await self._call(upstream.unstaged, model, version) for version in versions]
        self._repository.know(model)
        await self._repository.load(model, wanted_of(found, upstream))

    async def unload(self, model: str) -> None:
        await self._repository.unload(model)

    def _upstream_of(self, model: str) -> Upstream:
        if self._upstream is None or (self._names is not None and model not in self._names):
            self._repository.check_known(model)
            raise Unsupported(f"there is nothing to load '{model}' from")
        return self._upstream

    async def _poll(self, upstream: Upstream) -> None:
        epoch = await self._call(upstream.epoch)
        if epoch != self._epoch:
            await self._look(upstream)
            self._epoch = epoch
        elif self._repository.is_retry_due(asyncio.get_running_loop().time()):
            self._aim()

    async def _look(self, upstream: Upstream) -> None:
        """Read what stands where, aim at it, and let go of what has been archived since it was asked for."""
        self._placements = list(await self._call(upstream.placements, self._names))
        self._aim()
        for one in self._repository.asked:
            try:
                await self._call(upstream.unstaged, one.name, one.version)
            except (NotFound, Conflict):
                self._repository.forget(one.name, one.version)

    def look_again(self) -> None:
        """Aim at what was last read: what a version waited for may have come."""
        self._aim()
        self._repository.has_changed.set()

    def _aim(self) -> None:
        if self._shadows is not None and self._is_started:
            self._shadows.aim(self._placements)  # first, for it has a say in what is loaded
        followed = [] if self._upstream is None else wanted_of(self._placements, self._upstream)
        self._repository.aim([*self._fixed, *(one for one in followed if self._may_load(one))])

    def _may_load(self, wanted: Wanted) -> bool:
        """What stands in ``shadow`` alone comes after production, and after its own process."""
        shadows = self._shadows
        if shadows is None or wanted.stages != (str(Stage.SHADOW),):
            return True
        return self._is_started and shadows.may_load(wanted.name, wanted.version, wanted.digest)

    async def _tell_change(self, upstream: Upstream) -> None:
        await self._repository.has_changed.wait()
        self._repository.has_changed.clear()
        if self._shadows is not None:
            self._shadows.aim(self._placements)
        await self._beat(upstream)

    async def _beat(self, upstream: Upstream) -> None:
        await self._call(upstream.report, self._answered(), self._failed(), "ready")

    async def _report(self, status: str) -> None:
        if self._upstream is None:
            return
        try:
            await self._call(self._upstream.report, self._answered(), self._failed(), status)
        except MlserveError as error:
            self._note_unreachable(error)

    def _answered(self) -> dict[tuple[str, str], int]:
        """The generation of each stage whose holder is loaded; 0 for stages followed whose holder is not."""
        is_away = self._repository.is_unloaded
        # Whoever waits for servers to swap must not wait for one that was told to keep the model away.
        answered = {(name, str(Stage.PRODUCTION)): 0 for name in self._names or () if not is_away(name)}
        for held in self._placements:
            if is_away(held.name):
                continue
            is_loaded = self._repository.holds(held.name, str(held.stage), held.version)
            if self._shadows is not None and held.stage == Stage.SHADOW:
                is_loaded = self._shadows.is_settled(held.name, held.version, is_loaded=is_loaded)
            answered[held.name, str(held.stage)] = held.generation if is_loaded else 0
        return answered

    def _failed(self) -> dict[tuple[str, int], str]:
        """Why each version of the registry that is wanted is not loaded."""
        files = {one.name for one in self._fixed}
        of_shadows = {} if self._shadows is None else self._shadows.failures()
        return of_shadows | {
            (failure.wanted.name, failure.wanted.version): failure.reason
            for failure in self._repository.failures
            if failure.wanted.name not in files
        }

    def _note_unreachable(self, error: MlserveError) -> None:
        if self._is_reachable:
            self._is_reachable = False
            self._on_event({"event": "registry_lost", "reason": error.message})

    def _note_reachable(self) -> None:
        if not self._is_reachable:
            self._is_reachable = True
            self._on_event({"event": "registry_found"})

    async def _call(self, function: Callable[..., Result], *arguments: object) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, function, *arguments)
