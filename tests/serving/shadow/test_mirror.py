"""What production answers reaches the ring after its replies were written, and only what production answered."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from zlib import crc32

import pytest
import uvloop

from mlserve.core.assignment import arm_of, salt_of
from mlserve.serving.http.front import HttpFront
from mlserve.serving.seam import InferRequest
from mlserve.serving.shadow.mirror import Mirror, Reflection
from mlserve.serving.shadow.mirrored import Mirrored, mirrored_in
from mlserve.serving.shadow.ring import Ring, make_ring
from tests import models
from tests.serving.engines import INLINE, World, arrays, loader, rows, tensor, wanted
from tests.serving.faults.traffic import BODY


@pytest.fixture
def ends() -> Iterator[tuple[Ring, Ring]]:
    descriptor = make_ring(1 << 20)
    writer, reader = Ring(descriptor), Ring(descriptor)
    yield writer, reader
    writer.close()
    reader.close()
    os.close(descriptor)


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    return asyncio.run(asyncio.wait_for(work(), 60))


class Mirroring:
    """An engine of versions 1 and 2 of ``m``, whose production is mirrored for version 3."""

    def __init__(self, ring: Ring, *, share: float = 1.0, **options: Any) -> None:
        loop = asyncio.get_running_loop()
        protos = {("m", 1): models.classifier(seed=1), ("m", 2): models.classifier(seed=2)}
        self.mirror = Mirror(loop)
        self.mirror.reflections["m"] = Reflection("m", 3, 1, share, ring)
        self.world = World(["m"], loader(protos, INLINE), **options)
        self.engine = self.world.engine
        self.engine.follow([(self.mirror.note, self.mirror.note_shared)])

    async def ready(self, *stages: Any) -> Mirroring:
        await self.world.repository.apply([wanted("m"), wanted("m", 2, "staging")])
        return self

    def ask(self, id: str, x: Any, *, version: int | None = None, key: str | None = None) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        request = InferRequest("m", version, [tensor("x", x)], None, unit_key=key, id=id.encode())
        self.engine.infer(request, future.set_result)
        return future


def taken(reader: Ring) -> list[Mirrored]:
    found = []
    while (frame := reader.take()) is not None:
        found.append(mirrored_in(frame))
    return found


def test_a_run_is_mirrored_as_it_was_run_and_answered(ends: tuple[Ring, Ring]) -> None:
    async def work() -> None:
        one = await Mirroring(ends[0]).ready()
        given = {f"r{count}": rows(count, seed=count) for count in (1, 2, 3)}
        answers = await asyncio.gather(*(one.ask(name, x) for name, x in given.items()))

        one.mirror.flush()
        (found,) = taken(ends[1])

        assert found.request_ids == list(given)
        assert found.rows_each == [1, 2, 3]
        assert found.inputs["x"].tobytes() == b"".join(x.tobytes() for x in given.values())
        for name, array in found.outputs.items():
            assert array.tobytes() == b"".join(arrays(answer)[name].tobytes() for answer in answers)
        one.world.close()

    run(work)


def test_what_names_a_version_or_fails_is_not_mirrored(ends: tuple[Ring, Ring]) -> None:
    async def work() -> None:
        one = await Mirroring(ends[0]).ready()
        await asyncio.gather(one.ask("explicit", rows(1), version=1), one.ask("other", rows(1), version=2))
        await one.ask("counts", rows(1))

        one.mirror.flush()

        assert [found.request_ids for found in taken(ends[1])] == [["counts"]]
        one.world.close()

    run(work)


def test_a_share_is_of_keys_where_there_are_any_and_else_of_ids(ends: tuple[Ring, Ring]) -> None:
    async def work() -> None:
        one = await Mirroring(ends[0], share=0.3).ready()
        ids, keys = [f"r{number}" for number in range(60)], [f"user-{number}" for number in range(60)]
        await asyncio.gather(*(one.ask(name, rows(1)) for name in ids))
        await asyncio.gather(*(one.ask(f"of {key}", rows(1), key=key) for key in keys))

        one.mirror.flush()
        found = {name for run in taken(ends[1]) for name in run.request_ids}

        expected = {name for name in ids if crc32(name.encode()) < 0.3 * 2**32}
        expected |= {f"of {key}" for key in keys if arm_of(key, salt_of("m", 3), (0.3,))}
        assert found == expected
        assert 0 < len(expected) < 120
        one.world.close()

    run(work)


def test_a_full_ring_drops_and_counts() -> None:
    async def work() -> None:
        descriptor = make_ring(1 << 16)
        ring = Ring(descriptor)
        one = await Mirroring(ring).ready()
        for number in range(40):
            await one.ask(f"r{number}", rows(200, seed=number))
            one.mirror.flush()

        assert ring.dropped > 0
        assert ring.written + ring.dropped == 40
        one.world.close()
        ring.close()
        os.close(descriptor)

    run(work)


def test_answers_that_were_shared_are_mirrored_too(ends: tuple[Ring, Ring]) -> None:
    async def work() -> None:
        one = await Mirroring(ends[0], cache_bytes=1 << 20).ready()
        await one.ask("first", rows(1))
        await one.ask("kept", rows(1))

        one.mirror.flush()
        found = taken(ends[1])

        assert [name for run in found for name in run.request_ids] == ["first", "kept"]
        assert len({tuple(array.ravel().tolist()) for run in found for array in run.outputs.values()}) == 1
        one.world.close()

    run(work)


class Watched(Ring):
    """A ring that says when something is written to it."""

    def __init__(self, descriptor: int, on_write: Callable[[int], None]) -> None:
        super().__init__(descriptor)
        self._on_write = on_write

    def write(self, parts: Any, requests: int = 1) -> bool:
        self._on_write(self.written + requests)
        return super().write(parts, requests)


@pytest.mark.parametrize("clients", [1, 8])
def test_replies_are_with_the_kernel_before_anything_is_done_for_a_shadow(clients: int) -> None:
    """Every reply has reached its client's end of the connection when the first byte goes into the ring.

    The client's sockets are read in the very moment of that write, without letting the server's loop run.
    """

    async def work() -> None:
        loop = asyncio.get_running_loop()
        descriptor = make_ring(1 << 20)
        seen: list[tuple[int, int]] = []

        def look(mirrored: int) -> None:
            there = [_available(sock) for sock in sockets]
            seen.append((mirrored, sum(reply.startswith(b"HTTP/1.1 200") for reply in there)))

        ring = Watched(descriptor, look)
        one = await Mirroring(ring).ready()
        front = HttpFront(one.engine, names_requests=True)
        ((host, port),) = await front.listen()
        sockets = [_connected(host, port) for _ in range(clients)]
        request = f"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BODY)}\r\n\r\n{BODY}".encode()
        for sock in sockets:
            await loop.sock_sendall(sock, request)
        while ring.written < clients:
            await asyncio.sleep(0)

        assert seen[-1][0] == clients
        assert all(mirrored <= replied for mirrored, replied in seen), seen
        for sock in sockets:
            sock.close()
        await front.drain(1.0)
        one.world.close()
        ring.close()
        os.close(descriptor)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(work(), 60))
    run(work)


def _connected(host: str, port: int) -> socket.socket:
    sock = socket.create_connection((host, port))
    sock.setblocking(False)
    return sock


def _available(sock: socket.socket) -> bytes:
    try:
        return bytes(sock.recv(1 << 16, socket.MSG_PEEK))
    except BlockingIOError:
        return b""
