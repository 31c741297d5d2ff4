"""All workers as one: what each has counted and loaded summed, and what is loaded on demand loaded by each.

A worker that ends while it is asked holds nobody up: its successor asks the others what it missed (``caught_up``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from mlserve.errors import MlserveError, NotFound
from mlserve.serving.metrics.families import Family
from mlserve.serving.seam import Engine, ModelStatus
from mlserve.serving.supervising.asking import SUFFIX, Ask, AskedServer, do
from mlserve.serving.supervising.snapshots import gathered
from mlserve.serving.supervising.telling import agreed
from mlserve.serving.tallies import ModelStatistics

log = logging.getLogger(__name__)

GRACE_S = 5.0
"""Beyond the time that a load may take in another worker."""


class Together:
    """``seam.Whole`` of the workers in ``folder``, of which this one has ``engine`` and answers at ``own``.

    ``patience_s`` is how long the others may take to load or unload.
    """

    def __init__(self, folder: Path, own: AskedServer, engine: Engine, patience_s: float) -> None:
        self._folder = folder
        self._own = own
        self._engine = engine
        self._patience_s = patience_s + GRACE_S

    async def families(self) -> list[Family]:
        """The metrics of all."""
        return (await gathered(self._folder, self._own)).whole.families

    async def models(self) -> Sequence[ModelStatus]:
        workers = (await gathered(self._folder, self._own)).workers
        staying = {name: told for name, told in workers.items() if told is None or not told.is_leaving}
        return agreed(staying or workers)

    async def statistics(self, model: str | None = None, version: int | None = None) -> Sequence[ModelStatistics]:
        found = await gathered(self._folder, self._own)
        everything = found.whole.statistics
        loaded = {
            (one.name, one.version)
            for told in found.workers.values()
            if told is not None
            for one in told.statistics
        }  # fmt: skip
        there = [one for one in everything if (one.name, one.version) in loaded]
        if model is None:
            return there
        try:
            # By the engine, which knows what NAME@STAGE means.
            wanted = {(one.name, one.version) for one in self._engine.statistics(model, version)}
        except MlserveError:
            wanted = {key for key in loaded if key[0] == model and version in (None, int(key[1]))}
            if not wanted:
                raise
        return [one for one in there if (one.name, one.version) in wanted]

    async def load(self, model: str, versions: Sequence[int] | None = None) -> None:
        asked = None if versions is None else list(versions)
        await self._everywhere(lambda: self._engine.load(model, versions), Ask("load", model, asked))

    async def unload(self, model: str) -> None:
        await self._everywhere(lambda: self._engine.unload(model), Ask("unload", model))

    async def caught_up(self) -> None:
        """Do what was asked of the others while this worker was not there. What cannot be done is in the index."""
        workers = (await gathered(self._folder, self._own)).workers
        own = self._own.path.stem
        others = [told for name, told in workers.items() if told is not None and name != own and not told.is_leaving]
        for model in sorted({model for told in others for model in told.unloaded}):
            await _try(self._engine.unload(model))
        asked = {(model, version) for told in others for model, versions in told.asked.items() for version in versions}
        for model, version in sorted(asked):
            await _try(self._engine.load(model, [version]))

    async def _everywhere(self, here: Callable[[], Awaitable[None]], ask: Ask) -> None:
        """Do it here and in every other worker, at the same time. Raises what kept one of them from it."""
        others = [path for path in sorted(self._folder.glob(f"*{SUFFIX}")) if path != self._own.path]
        done = await asyncio.gather(
            here(), *(do(path, ask, self._patience_s) for path in others), return_exceptions=True
        )
        failures = [one for one in done if isinstance(one, BaseException)]
        if not failures:
            return
        first = next((one for one in failures if not isinstance(one, MlserveError)), failures[0])
        if not isinstance(first, MlserveError) or len(failures) == len(done):
            raise first
        names = [self._own.path.stem, *(path.stem for path in others)]
        where = names[next(at for at, one in enumerate(done) if one is first)]
        # Another object: the first is also what this worker's index tells of itself.
        message = f"{first.message} (in worker {where}, one of {len(failures)} of {len(done)})"
        raise type(first)(message, hint=first.hint) from first


async def _try(work: Awaitable[None]) -> None:
    try:
        await work
    except NotFound:
        pass
    except MlserveError as error:
        log.warning("what the other workers were asked for is missing here: %s", error.message)
