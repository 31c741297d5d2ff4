"""``Shadows``: what stands in stage ``shadow`` is run beside production, and compared with it, as the registry says.

    placements, production ─► aim ─► a keeper and a ring for each pair of a shadow and its champion
                                │       └─ first one: the engine's answers are followed; last one gone: no longer
    documents ◄─ keepers ───────┴─► evidence: every while, and when a pair is no more

A pair ends when another version is promoted to ``shadow`` or to production, when the stage is emptied, and with the
server. Everything here is on the loop's thread but the keepers' own.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from mlserve.core.digests import canonical_json, digest_bytes
from mlserve.core.refs import Stage
from mlserve.core.settings import ServeSettings
from mlserve.errors import MlserveError, NotFound, Unavailable, Unsupported
from mlserve.serving.events import Emit
from mlserve.serving.loaded import Loaded
from mlserve.serving.metrics.families import Family
from mlserve.serving.repository import Repository
from mlserve.serving.seam import ModelState, ModelStatus
from mlserve.serving.shadow.counting import families_of
from mlserve.serving.shadow.evidence import evidence_of
from mlserve.serving.shadow.keeping import Document, Keeper, Start, start_child
from mlserve.serving.shadow.messages import Opening, Told
from mlserve.serving.shadow.mirror import Mirror, Reflection
from mlserve.serving.shadow.opening import opening_of
from mlserve.serving.shadow.ring import make_ring
from mlserve.serving.shadow.standing import Held, Pair, Records, pair_of

log = logging.getLogger(__name__)

DOCUMENT_S = 20.0
"""How long whoever asks for a shadow's figures waits for a process of the lowest priority."""

KIND = "shadow"


class Shadows:
    """Runs the shadows of one server.

    ``follow`` is told whether there is anything to mirror. ``folder`` is shared by the workers of one server, None
    where there are no others; ``writes`` says whether this one writes evidence every while, as one of them does.
    ``hash_key`` is what stands for unit keys in the capture. ``on_change`` is called when a shadow begins or cannot.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        repository: Repository,
        settings: ServeSettings,
        records: Records,
        executor: Executor,
        *,
        follow: Callable[[Mirror | None], None],
        on_event: Emit,
        folder: Path | None = None,
        writes: bool = True,
        hash_key: Callable[[str], str] | None = None,
        start: Start = start_child,
    ) -> None:
        self._loop = loop
        self._repository = repository
        self._settings = settings
        self._records = records
        self._executor = executor
        self._follow = follow
        self._on_event = on_event
        self._shared = folder
        self._folder: Path | None = None
        self._writes = writes
        self._start = start
        self._mirror = Mirror(loop, hash_key=hash_key, key_input=settings.unit_key_input)
        self._keepers: dict[Pair, Keeper] = {}
        self._ending: set[Keeper] = set()
        self._since: dict[Pair, str] = {}
        self._traffic: dict[Pair, float] = {}
        self._proven: set[tuple[str, int, str]] = set()
        self._over: dict[tuple[str, int], Told] = {}
        self._is_closed = False
        self.on_change: Callable[[], None] = lambda: None

    def aim(self, placements: Sequence[Held]) -> None:
        """Run what stands in stage ``shadow`` beside what now answers for production, and nothing else."""
        if self._is_closed:
            return
        champions = {one.name: one for one in self._repository.in_production()}
        wanted: dict[Pair, Held] = {}
        for held in placements:
            champion = champions.get(held.name)
            if held.stage == Stage.SHADOW and champion is not None and not self._repository.is_unloaded(held.name):
                wanted[pair_of(held, champion)] = held
        for pair in [pair for pair in self._keepers if pair not in wanted]:
            self._end(pair)
        for pair, held in wanted.items():
            if pair not in self._keepers:
                self._begin(pair, held)

    def may_load(self, name: str, version: int, digest: str | None) -> bool:
        """Whether the server itself may load a version that stands in ``shadow`` and nowhere else.

        Not before its own process has: a version that takes what loads it along must not take the server.
        """
        if not self._settings.shadow_answers:
            return False
        pairs = [pair for pair in self._keepers if (pair.name, pair.version) == (name, version)]
        return not pairs or (name, version, str(digest)) in self._proven

    def is_settled(self, name: str, version: int, *, is_loaded: bool) -> bool:
        """Whether the version is compared with production and, if the server itself is to have it, loaded there."""
        keepers = [keeper for pair, keeper in self._keepers.items() if (pair.name, pair.version) == (name, version)]
        if not all(keeper.state == "comparing" for keeper in keepers):
            return False
        return is_loaded or (bool(keepers) and not self._settings.shadow_answers)

    def failures(self) -> dict[tuple[str, int], str]:
        """Why each version in shadow is not compared now."""
        return {
            (pair.name, pair.version): keeper.reason for pair, keeper in self._keepers.items() if keeper.reason
        }  # fmt: skip

    def lines(self) -> list[ModelStatus]:
        """For the index: how versions in shadow fare, whether they are loaded in the server or not."""
        states = {"starting": ModelState.LOADING, "comparing": ModelState.READY}
        return [
            ModelStatus(
                pair.name,
                str(pair.version),
                states.get(keeper.state, ModelState.UNAVAILABLE),
                f"{keeper.state} in shadow: {keeper.reason}" if keeper.reason else "",
            )
            for pair, keeper in self._keepers.items()
        ]

    async def document(self, name: str) -> Document:
        """What is known of the version in shadow of ``name``. Raises NotFound where there is none, Unavailable."""
        self._repository.check_known(name)
        pair, keeper = next(
            ((pair, keeper) for pair, keeper in self._keepers.items() if pair.name == name), (None, None)
        )
        if pair is None or keeper is None:
            raise NotFound(
                f"no version of '{name}' is in shadow beside production",
                hint=f"mlserve promote {name}:VERSION --to shadow --traffic 100%",
            )
        self._mirror.flush()
        try:
            found = await asyncio.wait_for(asyncio.wrap_future(keeper.document()), DOCUMENT_S)
        except TimeoutError as error:
            raise Unavailable(f"the shadow of '{name}' has not answered within {DOCUMENT_S:g} s") from error
        said = {"state": keeper.state, "reason": keeper.reason, "pid": keeper.pid, "starts": keeper.starts}
        return found | said

    def families(self) -> list[Family]:
        """What shadows have counted in this process."""
        told = dict(self._over)
        for pair, keeper in self._keepers.items():
            key = pair.name, pair.version
            told[key] = told[key].merged(keeper.told) if key in told else keeper.told
        return families_of(told, {(pair.name, pair.version): keeper for pair, keeper in self._keepers.items()})

    async def stop(self, timeout_s: float) -> None:
        """End all of them, and write what they learned; those that are not done within ``timeout_s`` are killed."""
        self._mirror.flush()
        for pair in list(self._keepers):
            self._end(pair)
        self._is_closed = True
        ending = [asyncio.wrap_future(keeper.ended) for keeper in self._ending]
        if ending:
            _, late = await asyncio.wait(ending, timeout=timeout_s)
            if late:
                self.kill()
                await asyncio.wait(late, timeout=1.0)
        # What the keepers asked for stands before this in the one thread there is.
        await asyncio.wait((asyncio.wrap_future(self._executor.submit(int)),), timeout=timeout_s)

    def kill(self) -> None:
        """End every process now."""
        for keeper in [*self._keepers.values(), *self._ending]:
            keeper.kill()

    def close(self) -> None:
        """Leave nothing behind."""
        self._is_closed = True
        self.kill()
        if self._folder is not None and self._shared is None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _begin(self, pair: Pair, held: Held) -> None:
        self._since[pair] = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        share = self._traffic[pair] = 1.0 if held.traffic is None else held.traffic
        try:
            descriptor = make_ring(self._settings.shadow_ring_bytes)
        except OSError as error:
            log.warning("%s:%s is not in shadow: no memory for its ring: %s", pair.name, pair.version, error)
            return
        keeper = Keeper(
            f"{pair.name}:{pair.version}",
            descriptor,
            partial(self._prepare, pair, held, self._repository.find(pair.name, pair.champion), descriptor),
            open_limit_s=self._settings.load_timeout_s,
            evidence_s=self._settings.shadow_evidence_s,
            on_change=partial(self._soon, self._changed, pair),
            on_document=partial(self._evident, pair),
            start=self._start,
        )
        self._keepers[pair] = keeper
        self._mirror.reflections[pair.name] = Reflection(pair.name, pair.version, pair.champion, share, keeper.ring)
        self._follow(self._mirror)

    def _end(self, pair: Pair) -> None:
        self._mirror.flush()
        keeper = self._keepers.pop(pair)
        self._stop_mirroring(pair)
        self._ending.add(keeper)
        keeper.ended.add_done_callback(lambda _: self._soon(self._ended, pair, keeper))
        keeper.end()

    def _stop_mirroring(self, pair: Pair) -> None:
        if self._mirror.reflections.pop(pair.name, None) is not None and not self._mirror.reflections:
            self._follow(None)

    def _ended(self, pair: Pair, keeper: Keeper) -> None:
        self._ending.discard(keeper)
        key = pair.name, pair.version
        self._over[key] = self._over[key].merged(keeper.told) if key in self._over else keeper.told
        self._on_event({"event": "shadow_ended", "model": pair.name, "version": pair.version})

    def _changed(self, pair: Pair, keeper: Keeper) -> None:
        if self._keepers.get(pair) is not keeper:
            return
        told = {"model": pair.name, "version": pair.version, "baseline": pair.champion}
        if keeper.state == "comparing":
            self._proven.add((pair.name, pair.version, pair.digest))
            self._on_event({"event": "shadow_started", **told})
        elif keeper.reason:
            is_retried = keeper.state == "restarting"
            if not is_retried:
                self._stop_mirroring(pair)
            self._on_event({"event": "shadow_failed", **told, "reason": keeper.reason, "retry": is_retried})
        self.on_change()

    def _soon(self, function: Callable[..., None], *arguments: Any) -> None:
        """From any thread."""
        with suppress(RuntimeError):  # the loop is closed, so nobody cares any more
            self._loop.call_soon_threadsafe(function, *arguments)

    def _prepare(self, pair: Pair, held: Held, champion: Loaded, descriptor: int) -> Opening:
        """In the keeper's thread: fetch, and say where everything is. Raises what fetching raises."""
        fetched = self._records.fetch(held)
        if fetched.kind != "onnx":
            raise Unsupported(
                f"{pair.name}:{pair.version} is a language model, and what a request wished of the text is not mirrored"
            )
        return opening_of(
            pair,
            fetched,
            since=self._since[pair],
            traffic=self._traffic[pair],
            champion_precision=champion.precision,
            ring=descriptor,
            folder=self._own_folder(),
            is_folder_ours=self._shared is None,
            settings=self._settings,
        )

    def _own_folder(self) -> Path:
        if self._shared is not None:
            return self._shared
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="mlserve-shadow-"))
        return self._folder

    def _evident(self, pair: Pair, document: Document, is_last: bool) -> None:
        """In the keeper's thread: have evidence written by the thread that speaks with the registry."""
        if not document["compared"] and not document["failed"]:
            return
        if pair.digest == pair.champion_digest:
            return  # that production agrees with itself is no evidence, and a gate would take it for some
        if is_last or self._writes:
            self._executor.submit(self._record, pair, document)

    def _record(self, pair: Pair, document: Document) -> None:
        # One address for all that one server has seen of one pair: later figures take the place of earlier ones.
        seen = [KIND, pair.name, pair.generation, pair.champion_digest or pair.champion, str(self._own_folder())]
        try:
            self._records.record(pair.digest, KIND, evidence_of(document), digest_bytes(canonical_json(seen)))
        except MlserveError as error:
            log.warning("what the shadow %s:%s showed is not recorded: %s", pair.name, pair.version, error.message)
        except Exception:
            log.exception("what the shadow %s:%s showed is not recorded", pair.name, pair.version)
