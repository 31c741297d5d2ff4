"""Following stages: what moves there is answered here, whatever happens in between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import pytest

from mlserve.errors import Conflict, InvalidInput, NotFound, Unavailable
from mlserve.serving import following
from mlserve.serving.following import GONE, Follower, Placement, wanted_of
from mlserve.serving.loaded import Loaded
from mlserve.serving.loading import Fetched, Wanted
from tests.serving.engines import NOWHERE, GatedModel, World, gated, wanted

ONE = np.ones((1, 1), np.float32)


@dataclass
class FakeRegistry:
    """Stages of one model ``m`` and when they last moved; every call may be made to fail."""

    stages: dict[str, int] = field(default_factory=dict)
    number: int = 1
    failure: Exception | None = None
    reports: list[tuple[dict[tuple[str, str], int], str]] = field(default_factory=list)
    failures: list[dict[tuple[str, int], str]] = field(default_factory=list)
    archived: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def move(self, **stages: int) -> None:
        with self.lock:
            self.stages = dict(stages)
            self.number += 1

    def epoch(self) -> int:
        if self.failure is not None:
            raise self.failure
        return self.number

    def placements(self, names: Sequence[str] | None) -> list[Placement]:
        if names is not None and "m" not in names:
            raise NotFound(f"no model '{names[0]}'")
        with self.lock:
            return [
                Placement("m", stage, version, self.number, f"d{version}") for stage, version in self.stages.items()
            ]

    def fetch(self, placement: Placement) -> Fetched:
        return Fetched(NOWHERE)

    def unstaged(self, name: str, version: int) -> Placement:
        if version in self.archived:
            raise Conflict(f"'{name}:{version}' is archived")
        if version > 9:
            raise NotFound(f"no version {version} of '{name}'")
        return Placement(name, following.NOWHERE, version, 0, f"d{version}")

    def report(
        self, loaded: Mapping[tuple[str, str], int], failures: Mapping[tuple[str, int], str], status: str
    ) -> None:
        if self.failure is not None:
            raise self.failure
        self.failures.append(dict(failures))
        self.reports.append((dict(loaded), status))


class Followed(World):
    """A world that follows a registry until its block ends."""

    def __init__(
        self, registry: FakeRegistry, fixed: Sequence[Wanted] = (), names: Sequence[str] | None = ("m",)
    ) -> None:
        self.broken: set[int] = set()
        self.loads: list[int] = []
        super().__init__([*(one.name for one in fixed), *(names or ())], self.load)
        self.follower = Follower(
            self.repository,
            fixed,
            upstream=registry,
            names=names,
            executor=ThreadPoolExecutor(1),
            poll_s=0.001,
            on_event=self.events.append,
        )

    def load(self, one: Wanted) -> Loaded:
        self.loads.append(one.version)
        one.fetch()
        if one.version in self.broken:
            raise InvalidInput(f"version {one.version} is broken")
        model = GatedModel()
        model.gate.set()
        return gated(model, name=one.name, version=one.version)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60.0):
            while not condition():
                await asyncio.sleep(0.001)

    async def __aenter__(self) -> Followed:
        await self.follower.start()
        self.task = asyncio.create_task(self.follower.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        await self.follower.stop()
        self.close()

    def seen(self, kind: str) -> list[object]:
        return [event.get("version") for event in self.events if event["event"] == kind]


def test_a_promotion_is_followed_and_reported() -> None:
    async def story() -> None:
        registry = FakeRegistry({"production": 1})
        async with Followed(registry) as world:
            assert (await world.ask("m", x=ONE)).version == "1"
            assert registry.reports == [({("m", "production"): 1}, "ready")]

            registry.move(production=2, challenger=1)
            await world.until(lambda: registry.reports[-1][0] == {("m", "production"): 2, ("m", "challenger"): 2})

            assert (await world.ask("m", x=ONE)).version == "2"
            assert (await world.ask("m", 1, x=ONE)).version == "1"
            assert world.loads == [1, 2]
        assert registry.reports[-1][1] == GONE

    asyncio.run(story())


def test_without_a_version_in_production_it_waits_for_one() -> None:
    async def story() -> None:
        registry = FakeRegistry()
        async with Followed(registry) as world:
            assert not world.engine.is_ready()
            assert registry.reports[-1][0] == {("m", "production"): 0}

            registry.move(production=1)
            await world.until(world.engine.is_ready)

            assert (await world.ask("m", x=ONE)).version == "1"

    asyncio.run(story())


def test_a_version_that_breaks_is_not_swapped_in_and_not_reported() -> None:
    async def story() -> None:
        registry = FakeRegistry({"production": 1})
        async with Followed(registry) as world:
            world.broken = {2}
            registry.move(production=2)
            await world.until(lambda: world.seen("failed") == [2])
            await world.until(lambda: registry.reports[-1][0] == {("m", "production"): 0})

            assert (await world.ask("m", x=ONE)).version == "1"
            registry.move(production=3)
            await world.until(lambda: world.seen("swapped") == [1, 3])

    asyncio.run(story())


def test_a_registry_out_of_reach_changes_nothing_and_is_said_once() -> None:
    async def story() -> None:
        registry = FakeRegistry({"production": 1})
        async with Followed(registry) as world:
            registry.failure = Unavailable("the database is away")
            await world.until(lambda: any(event["event"] == "registry_lost" for event in world.events))
            assert (await world.ask("m", x=ONE)).version == "1"
            assert world.engine.is_ready()

            registry.failure = None
            registry.move(production=2)
            await world.until(lambda: world.seen("swapped") == [1, 2])

            kinds = [event["event"] for event in world.events if event["event"].startswith("registry")]
            assert kinds in (["registry_lost", "registry_found"], ["registry_lost"])

    asyncio.run(story())


def test_a_registry_lost_at_the_end_keeps_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        registry = FakeRegistry({"production": 1})
        async with Followed(registry):
            registry.failure = Unavailable("gone")

    asyncio.run(story())


def test_a_bug_in_the_registry_does_not_end_following(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        registry = FakeRegistry({"production": 1})
        async with Followed(registry) as world:
            registry.failure = ZeroDivisionError()
            await world.until(lambda: "following the registry" in caplog.text)
            registry.failure = None
            registry.move(production=2)
            await world.until(lambda: world.seen("swapped") == [1, 2])

    asyncio.run(story())


def test_what_was_out_of_reach_is_fetched_when_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        registry = FakeRegistry({"production": 1})

        async with Followed(registry) as world:
            fetch = registry.fetch
            monkeypatch.setattr("mlserve.serving.entries.FIRST_RETRY_S", 0.005)

            def away(placement: Placement) -> Fetched:
                raise Unavailable("the store is away")

            registry.fetch = away  # type: ignore[method-assign]
            registry.move(production=2)
            await world.until(lambda: len(world.seen("failed")) >= 2)
            registry.fetch = fetch  # type: ignore[method-assign]
            await world.until(lambda: world.seen("swapped") == [1, 2])

    asyncio.run(story())


def test_a_server_with_nothing_new_says_now_and_then_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "REPORT_S", 0.002)

    async def story() -> None:
        registry = FakeRegistry({"production": 1})
        async with Followed(registry) as world:
            await world.until(lambda: len(registry.reports) > 3)

            assert world.loads == [1]

    asyncio.run(story())


def test_a_server_that_loads_for_long_still_says_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "REPORT_S", 0.002)

    async def story() -> None:
        registry, may_load = FakeRegistry({"production": 1}), threading.Event()
        async with Followed(registry) as world:
            registry.fetch = lambda placement: may_load.wait(60.0) and Fetched(NOWHERE)  # type: ignore[assignment,method-assign,return-value]
            registry.move(production=2)
            await world.until(lambda: world.loads == [1, 2])
            before = len(registry.reports)
            await world.until(lambda: len(registry.reports) > before + 3)

            assert registry.reports[-1] == ({("m", "production"): 0}, "ready")
            may_load.set()
            await world.until(lambda: registry.reports[-1][0] == {("m", "production"): 2})

    asyncio.run(story())


def test_what_cannot_be_loaded_at_the_start_is_raised() -> None:
    async def story() -> None:
        broken = Followed(FakeRegistry({"production": 2}))
        broken.broken = {2}
        with pytest.raises(InvalidInput, match="version 2 is broken"):
            await broken.follower.start()
        broken.close()
        unknown = Followed(FakeRegistry(), names=["other"])
        with pytest.raises(NotFound, match="other"):
            await unknown.follower.start()
        unknown.close()
        away = Followed(FakeRegistry(failure=Unavailable("away")))
        with pytest.raises(Unavailable, match="away"):
            await away.follower.start()
        away.close()

    asyncio.run(story())


def test_a_broken_challenger_does_not_keep_production_from_starting() -> None:
    async def story() -> None:
        world = Followed(FakeRegistry({"challenger": 2, "production": 1}))
        world.broken = {2}
        async with world:
            assert world.engine.is_ready()
            assert world.loads == [1, 2]

    asyncio.run(story())


def test_files_need_no_registry() -> None:
    async def story() -> None:
        world = Followed(FakeRegistry(), fixed=[wanted("file")], names=[])
        async with world:
            await world.task
            assert world.engine.is_ready()
            assert (await world.ask("file", x=ONE)).version == "1"

    asyncio.run(story())


def test_without_names_a_model_comes_and_goes_with_its_stages() -> None:
    async def story() -> None:
        registry = FakeRegistry()
        world = Followed(registry, names=None)
        async with world:
            assert world.engine.is_ready()
            registry.move(production=1)
            await world.until(lambda: world.seen("swapped") == [1])
            assert (await world.ask("m", x=ONE)).version == "1"

            registry.move()
            await world.until(lambda: not world.engine.models())
            with pytest.raises(NotFound, match="no model 'm'"):
                world.engine.view("m")
            assert world.engine.is_ready()

    asyncio.run(story())


def test_without_names_readiness_waits_for_what_is_in_production_at_start_alone() -> None:
    async def story() -> None:
        async with Followed(FakeRegistry({"staging": 1}), names=None) as tried:
            assert tried.engine.is_ready()
        registry = FakeRegistry({"production": 1})
        async with Followed(registry, names=None) as live:
            assert live.engine.is_ready()
            registry.move()
            await live.until(lambda: not live.engine.is_ready())

    asyncio.run(story())


def test_the_stages_of_a_version_are_put_together() -> None:
    placements = [
        Placement("m", "production", 1, 4, "d1"),
        Placement("m", "staging", 1, 7, "d1"),
        Placement("m", "shadow", 2, 5, "d2"),
    ]

    one, two = wanted_of(placements, FakeRegistry())

    assert (one.version, one.stages, one.generation, one.digest) == (1, ("production", "staging"), 7, "d1")
    assert (two.version, two.stages) == (2, ("shadow",))
