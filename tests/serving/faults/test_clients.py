"""Clients that misbehave: those that never read, those that send a byte a second, and those that only sit there."""

from __future__ import annotations

import json
import socket
import time
from urllib.request import urlopen

from tests.serving.faults.conftest import Registry, Server
from tests.serving.faults.traffic import BODY, Traffic

PATIENT = 30.0
ESTABLISHED = 1
"""The first byte of Linux' struct tcp_info while both sides are there."""
INFER = b"POST /v2/models/fraud/infer HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s"


def connected(server: Server) -> socket.socket:
    return socket.create_connection(server.address, timeout=PATIENT)


def alive(server: Server) -> bool:
    with urlopen(f"{server.url}/v2/health/live", timeout=PATIENT) as response:
        return bool(response.status == 200)


def until_cut(sock: socket.socket) -> None:
    """Until the server has reset the connection; nothing that it sent is read meanwhile."""
    end_s = time.monotonic() + PATIENT
    while sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == ESTABLISHED:
        assert time.monotonic() < end_s, "the connection was never cut"
        time.sleep(0.05)


def test_a_client_that_never_reads_is_cut_and_harms_nobody(registry: Registry) -> None:
    rows = 20_000
    tensor = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": [0.5] * (4 * rows)}
    large = json.dumps({"inputs": [tensor]}).encode()

    env = {"MLSERVE_SERVE__BODY_TIMEOUT_S": "1", "MLSERVE_SERVE__MAX_QUEUE_ROWS": str(100 * rows)}

    with registry.serving(env=env) as server:
        with Traffic(server.url, "fraud", registry.versions, clients=2) as traffic, connected(server) as greedy:
            greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            for _ in range(20):  # more than the kernel keeps for a client
                greedy.sendall(INFER % (len(large), large))
            until_cut(greedy)
            traffic.until(50)
        assert server.end() == 0

    assert traffic.counted.failures == []


def test_a_client_that_sends_a_byte_a_second_is_cut_and_harms_nobody(registry: Registry) -> None:
    request = INFER % (len(BODY), BODY.encode())

    with registry.serving(env={"MLSERVE_SERVE__HEADER_TIMEOUT_S": "2"}) as server:
        with Traffic(server.url, "fraud", registry.versions, clients=2) as traffic, connected(server) as slow:
            slow.settimeout(1.0)
            sent, said = 0, b""
            while not said and sent < len(request):
                slow.sendall(request[sent : sent + 1])
                sent += 1
                try:
                    said = slow.recv(4096)
                except TimeoutError:
                    continue
            traffic.until(50)
        assert server.end() == 0

    assert said.startswith(b"HTTP/1.1 408 ")
    assert traffic.counted.failures == []


def test_hundreds_of_idle_clients_cost_the_others_nothing_and_the_end_no_time(registry: Registry) -> None:
    with registry.serving() as server:
        idle = [connected(server) for _ in range(500)]
        with Traffic(server.url, "fraud", registry.versions) as traffic:
            traffic.until(200)
        assert server.end() == 0
        assert [sock.recv(1) for sock in idle] == [b""] * len(idle)

    for sock in idle:
        sock.close()
    assert traffic.counted.failures == []


def test_one_client_too_many_is_told_to_come_back(registry: Registry) -> None:
    with registry.serving(env={"MLSERVE_SERVE__MAX_CONNECTIONS": "3"}) as server:
        kept = [connected(server) for _ in range(3)]
        for sock in kept:
            sock.sendall(INFER % (len(BODY), BODY.encode()))
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
        with connected(server) as late:
            said = late.recv(4096)
        kept.pop().close()
        while not alive_again(server):
            time.sleep(0.02)
        assert server.end() == 0

    for sock in kept:
        sock.close()
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: " in said.lower()


def alive_again(server: Server) -> bool:
    try:
        return alive(server)
    except OSError:
        return False
