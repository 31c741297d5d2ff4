"""The sockets at which clients wait: opened by the supervisor, one set a seat, and inherited by each worker of it.

The kernel deals new clients out to the seats (SO_REUSEPORT), where they wait until they are accepted. Whoever closes
the last copy of a socket resets those that wait at it; so the supervisor keeps one of each, and who waits when a worker
ends is accepted by its successor, or by the other workers, which have the same sockets.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack

from mlserve.errors import Unavailable

BACKLOG = 2048


class Listeners:
    """Sockets that listen on one port, ``count`` seats of them, closed by ``close``."""

    def __init__(self, seats: Sequence[Sequence[socket.socket]]) -> None:
        self._seats = seats

    @property
    def port(self) -> int:
        return int(self._seats[0][0].getsockname()[1])

    @property
    def descriptors(self) -> list[list[int]]:
        """By seat: one socket for each address that the host has."""
        return [[one.fileno() for one in seat] for seat in self._seats]

    def close(self) -> None:
        for seat in self._seats:
            for one in seat:
                one.close()


def open_listeners(host: str, port: int, count: int) -> Listeners:
    """Listen on ``host`` and ``port`` (0: a free one) for ``count`` seats. Raises Unavailable for one that is taken."""
    with ExitStack() as stack:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
            seats: list[list[socket.socket]] = [[] for _ in range(count)]
            for family, address in addresses:
                bound = (address[0], port, *address[2:])
                port = _free(family, bound)
                for seat in seats:
                    one = stack.enter_context(_socket(family))
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                    one.bind((address[0], port, *address[2:]))
                    seat.append(one)
            # Not before all are bound: with the first that listens, clients may come.
            for one in (one for seat in seats for one in seat):
                one.listen(BACKLOG)
                one.setblocking(False)
        except OSError as error:
            raise Unavailable(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
        stack.pop_all()
    return Listeners(seats)


def inherited(descriptor: int) -> socket.socket:
    """A copy of a socket that this process was started with, to be closed when this process accepts nobody from it."""
    # Not by socket.dup, which makes it blocking in every process for a moment: one that accepts then would hang.
    copy = socket.socket(fileno=os.dup(descriptor))
    copy.setblocking(False)
    return copy


def _free(family: int, address: tuple[object, ...]) -> int:
    """The port of ``address``, or a free one for 0, if nobody listens there."""
    with _socket(family) as alone:
        # Without sharing first: somebody else's shared port would let us in among them.
        alone.bind(address)
        alone.listen(1)
        return int(alone.getsockname()[1])


def _socket(family: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        # As asyncio does: the same port over IPv4 has a socket of its own.
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made
