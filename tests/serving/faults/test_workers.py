"""Workers that are killed, replaced and ended while clients keep asking."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

import pytest

from mlserve.registry.following import live_instances
from mlserve.serving.metrics.reading import scrape_of
from tests.serving.faults.conftest import PATIENCE_S, Registry, Server
from tests.serving.faults.traffic import BODY, Traffic

HEAD = f"POST /v2/models/fraud/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()


def answered(server: Server) -> float:
    """How many requests all workers together say that they answered."""
    with urlopen(f"{server.url}/metrics", timeout=30) as response:
        scrape = scrape_of(response.read().decode())
    return sum(figures.counts["answered"] for figures in scrape.versions.values())


def until_gone(pid: int) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end_s, f"process {pid} lives on"
        time.sleep(0.02)


@pytest.mark.parametrize("is_kept_alive", [True, False], ids=["kept alive", "a connection each"])
def test_a_killed_worker_costs_only_what_it_was_working_on_and_comes_back(
    registry: Registry, is_kept_alive: bool
) -> None:
    clients = 6

    with registry.serving("--workers", "2") as server:
        with Traffic(server.url, "fraud", registry.versions, clients, is_kept_alive=is_kept_alive) as traffic:
            traffic.until(100)
            victim = server.until("ready")["workers"][0]
            os.kill(victim, signal.SIGKILL)
            lost = server.until("worker_lost")
            traffic.until(100)
            server.until("worker_started")
            failed = list(traffic.counted.failures)
            traffic.until(200)
            counted = traffic.end()
        assert server.end() == 0

    assert (lost["pid"], lost["code"]) == (victim, -signal.SIGKILL)
    assert len(failed) <= clients, "one request under way a client, and not more"
    assert all(failure.startswith("lost: ") for failure in failed)
    assert counted.failures == failed


def test_a_promotion_waits_for_every_worker_and_not_for_a_dead_one(registry: Registry) -> None:
    with registry.serving("--workers", "2") as server:
        pids = set(server.until("ready")["workers"])
        assert {one.pid for one in live_instances(registry.store, datetime.now(UTC))} == pids
        os.kill(min(pids), signal.SIGKILL)
        server.until("worker_started")
        with Traffic(server.url, "fraud", registry.versions) as traffic:
            registry.until_swapped(registry.promote("2"))
            asked_since = dict(traffic.counted.right)
            traffic.until(50, "2")
            assert traffic.counted.right.get("1", 0) - asked_since.get("1", 0) <= 6
        assert server.end() == 0

    assert traffic.counted.failures == []
    assert live_instances(registry.store, datetime.now(UTC), ttl_s=1.0) == []


@pytest.mark.parametrize("is_kept_alive", [True, False], ids=["kept alive", "a connection each"])
def test_workers_are_replaced_without_a_failed_request(registry: Registry, in_full: bool, is_kept_alive: bool) -> None:
    with registry.serving("--workers", "2") as server:
        before = server.until("ready")["workers"]
        with Traffic(server.url, "fraud", registry.versions, is_kept_alive=is_kept_alive) as traffic:
            for _ in range(10 if in_full else 2):
                seen = len(server.events)
                server.process.send_signal(signal.SIGHUP)
                after = server.until("restarted", after=seen)["workers"]
                traffic.until(100)
        assert server.end() == 0

    assert set(before).isdisjoint(after)
    assert traffic.counted.failures == []


def test_who_waits_at_a_worker_that_is_killed_is_answered_by_another(registry: Registry) -> None:
    with registry.serving("--workers", "2") as server:
        victim = server.until("ready")["workers"][0]
        os.kill(victim, signal.SIGSTOP)  # so that it accepts nobody, and the kernel goes on dealing clients out to it
        with asking(server, 32) as clients:
            answered_before = answered_by_now(clients)
            os.kill(victim, signal.SIGKILL)
            statuses = [status_of(client) for client in clients]
        assert server.end() == 0

    assert answered_before < 32, "nobody waited at the worker that was stopped"
    assert statuses == [200] * 32


def test_who_waits_at_a_worker_that_is_replaced_is_answered_by_its_successor(registry: Registry) -> None:
    with registry.serving("--workers", "2") as server:
        old = server.until("ready")["workers"][0]
        os.kill(old, signal.SIGSTOP)
        with asking(server, 32) as clients:
            server.process.send_signal(signal.SIGHUP)
            statuses = [status_of(client) for client in clients]
        assert "restarted" not in [event["event"] for event in server.events], "the old one still has its seat"
        os.kill(old, signal.SIGCONT)
        server.until("restarted")
        assert server.end() == 0

    assert statuses == [200] * 32


@contextmanager
def asking(server: Server, count: int) -> Iterator[list[socket.socket]]:
    """So many clients that have each sent a request, and wait."""
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(server.address, PATIENCE_S)) for _ in range(count)]
        for client in clients:
            client.sendall(HEAD + BODY.encode())
        yield clients


def answered_by_now(clients: list[socket.socket]) -> int:
    """How many have an answer that they could read."""
    return len(select.select(clients, [], [], 1.0)[0])


def status_of(client: socket.socket) -> int:
    """The status of the next answer; 0 where the connection ended without."""
    try:
        first = client.recv(1 << 16)
    except ConnectionError:
        return 0
    return int(first.split()[1]) if first else 0


def test_counters_of_all_workers_are_one_and_never_go_back(registry: Registry) -> None:
    with registry.serving("--workers", "2") as server:
        with Traffic(server.url, "fraud", registry.versions) as traffic:
            traffic.until(200)
        assert answered(server) == traffic.counted.total
        server.process.send_signal(signal.SIGHUP)
        server.until("restarted")
        assert answered(server) == traffic.counted.total
        told = [answered(server)]
        os.kill(server.until("restarted")["workers"][1], signal.SIGKILL)
        while not any(event["event"] == "worker_started" for event in server.events):
            with suppress(OSError):  # asked of the worker that was just killed
                told.append(answered(server))
        told.append(answered(server))
        assert server.end() == 0

    assert told == sorted(told)


def test_a_signal_while_workers_are_replaced_ends_all_at_once(registry: Registry) -> None:
    with registry.serving("--workers", "2") as server, Traffic(server.url, "fraud", registry.versions):
        workers = server.until("ready")["workers"]
        server.process.send_signal(signal.SIGHUP)
        server.until("restarting")
        assert server.end() == 0

    for pid in workers:
        until_gone(pid)
    assert "restarted" not in [event["event"] for event in server.events]


def test_workers_drain_and_end_with_a_supervisor_that_is_killed_and_leave_the_port(registry: Registry) -> None:
    with registry.serving("--workers", "2") as server:
        workers, address = server.until("ready")["workers"], server.address
        with begun(server) as clients:
            server.end(signal.SIGKILL)
            time.sleep(0.2)  # nothing tells a client that the server has begun to drain
            for client in clients:
                client.sendall(BODY.encode()[1:])
            replies = [client.recv(1 << 16).lower() for client in clients]
        for pid in workers:
            until_gone(pid)

    assert all(reply.startswith(b"http/1.1 200") for reply in replies)
    assert all(b"\r\nconnection: close\r\n" in reply for reply in replies)
    with socket.create_server(address):
        pass


@contextmanager
def begun(server: Server, count: int = 8) -> Iterator[list[socket.socket]]:
    """So many clients that have each sent all of a request but the rest of its body."""
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(server.address, PATIENCE_S)) for _ in range(count)]
        for client in clients:
            client.sendall(HEAD + BODY.encode()[:1])
        time.sleep(0.2)  # nothing tells a client that the first part of its request has been read
        yield clients


def test_a_second_signal_ends_workers_that_drain(registry: Registry) -> None:
    with registry.serving("--workers", "2") as server, begun(server):
        workers = server.until("ready")["workers"]
        server.process.send_signal(signal.SIGINT)
        server.until("draining")
        assert server.end(signal.SIGINT) == 130

    for pid in workers:
        until_gone(pid)
