"""The sockets where clients wait: one port, nobody else's, and no copy of them loses who waits at another."""

from __future__ import annotations

import os
import socket
from contextlib import closing

import pytest

from mlserve.errors import Unavailable
from mlserve.serving.supervising.listeners import inherited, open_listeners

LOOPBACK = "127.0.0.1"


def test_every_seat_has_a_socket_on_one_port_and_clients_are_dealt_out_to_all() -> None:
    with closing(open_listeners(LOOPBACK, 0, 3)) as listeners:
        own = [inherited(descriptor) for (descriptor,) in listeners.descriptors]
        clients = [socket.create_connection((LOOPBACK, listeners.port), timeout=30) for _ in range(64)]
        waiting = [drained(sock) for sock in own]
        for one in (*clients, *own):
            one.close()

    assert sum(waiting) == 64
    assert min(waiting) > 0, "by chance that a seat gets none is one in 10^11"


def test_who_waits_stays_when_a_copy_of_the_socket_is_closed() -> None:
    with closing(open_listeners(LOOPBACK, 0, 1)) as listeners:
        ((descriptor,),) = listeners.descriptors
        inherited(descriptor).close()
        with socket.create_connection((LOOPBACK, listeners.port), timeout=30) as client:
            client.sendall(b"hello")
            inherited(descriptor).close()
            with inherited(descriptor) as successor:
                accepted, _ = successor.accept()
                with accepted:
                    assert accepted.recv(5) == b"hello"


def test_a_copy_never_makes_those_block_who_accept_from_another() -> None:
    with closing(open_listeners(LOOPBACK, 0, 1)) as listeners:
        ((descriptor,),) = listeners.descriptors
        with inherited(descriptor):
            assert not os.get_blocking(descriptor)


@pytest.mark.parametrize("shares", [False, True], ids=["alone", "sharing its port"])
def test_a_port_that_somebody_else_listens_on_stays_theirs(shares: bool) -> None:
    with socket.socket() as theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares))
        theirs.bind((LOOPBACK, 0))
        theirs.listen()
        port = theirs.getsockname()[1]

        with pytest.raises(Unavailable, match=f"cannot listen on {LOOPBACK}:{port}"):
            open_listeners(LOOPBACK, port, 2)


def test_a_name_with_several_addresses_has_one_port_at_each() -> None:
    addresses = {one[4][0] for one in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}

    with closing(open_listeners("localhost", 0, 2)) as listeners:
        assert {len(seat) for seat in listeners.descriptors} == {len(addresses)}
        for address in addresses:
            socket.create_connection((address, listeners.port), timeout=30).close()


def test_a_host_that_is_none_is_said() -> None:
    with pytest.raises(Unavailable, match=r"cannot listen on no\.such\.host\.invalid:8000"):
        open_listeners("no.such.host.invalid", 8000, 2)


def drained(sock: socket.socket) -> int:
    """How many clients wait at ``sock``, all of which are let in and out again."""
    count = 0
    while True:
        try:
            accepted, _ = sock.accept()
        except BlockingIOError:
            return count
        accepted.close()
        count += 1
