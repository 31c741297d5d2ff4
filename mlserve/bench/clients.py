"""HTTP clients for load: plain sockets on one epoll, each with one request under way at a time.

Nearly all that a request costs here is the kernel's send and receive. What is left to Python is kept to a few calls:
requests are finished bytes, a reply lands in one buffer that all clients share, and is right if it ends as it must.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable, Sequence

from mlserve.bench.messages import OK, Message, Received, is_right, learned, received
from mlserve.bench.outcomes import LOST, WRONG
from mlserve.errors import Unavailable

_BUFFER_BYTES = 1 << 18
CONNECT_S = 10.0
_FINE_S = 3e-3
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
RIGHT = ""
"""The verdict on a reply that is as it must be; any other is the kind of failure."""


class Client:
    """One client. ``message`` is under way, or None; ``due_s`` is when it was due, or sent.

    ``sock`` None is one whose server has hung up; it may be connected again from ``retry_s`` on. Where several share a
    connection, ``verdict`` is what became of the message. ``reply`` is the last one to a message of unknown ending.
    """

    __slots__ = (
        *("due_s", "held", "message", "number", "recv_into", "reply", "retry_s", "send", "sock", "unsent", "verdict"),
    )

    recv_into: Callable[[bytearray], int]
    send: Callable[[bytes | memoryview], int]

    def __init__(self, number: int) -> None:
        self.number = number
        self.message: Message | None = None
        self.due_s = 0.0
        self.retry_s = 0.0
        self.held = bytearray()
        self.unsent: memoryview | None = None
        self.verdict: str | None = None
        self.reply: Received | None = None
        self.sock: socket.socket | None = None


class Clients:
    """``count`` connections to one server. Raises Unavailable if they cannot be made."""

    def __init__(self, host: str, port: int, count: int) -> None:
        self._address = (host, port)
        self._epoll = select.epoll()
        self._by_fd: dict[int, Client] = {}
        self._buffer = bytearray(_BUFFER_BYTES)
        self.all = [Client(number) for number in range(count)]
        try:
            for client in self.all:
                self.connect(client)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for client in self.all:
            if client.sock is not None:
                client.sock.close()
        self._epoll.close()

    def connect(self, client: Client) -> None:
        """Connect ``client``, anew if it was connected. Raises Unavailable."""
        self.disconnect(client)
        host, port = self._address
        try:
            sock = self._opened()
        except OSError as error:
            raise Unavailable(f"nobody answers at {host}:{port}: {error.strerror or error}") from error
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sock, client.recv_into, client.send = sock, sock.recv_into, sock.send
        client.held.clear()
        self._by_fd[sock.fileno()] = client
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _opened(self) -> socket.socket:
        return socket.create_connection(self._address, timeout=CONNECT_S)

    def disconnect(self, client: Client) -> None:
        """Forget the connection of ``client``, and what was under way on it."""
        if client.sock is not None:
            self._by_fd.pop(client.sock.fileno(), None)
            client.sock.close()
        client.sock, client.message, client.unsent = None, None, None

    def ready(self, timeout_s: float) -> list[Client]:
        """Those that have something to read, after at most ``timeout_s``; what had to wait to be sent is sent on."""
        if 0 < timeout_s < _FINE_S:
            # epoll's own timeout is in whole milliseconds, and an epoll can be waited for as a file can.
            select.select([self._epoll], [], [], timeout_s)
            timeout_s = 0.0
        by_fd, found = self._by_fd, []
        for fd, events in self._epoll.poll(max(0.0, timeout_s - 1e-3)):
            client = by_fd[fd]
            if events & select.EPOLLOUT and client.unsent is not None:
                self._send_rest(client)
            if events & ~select.EPOLLOUT:
                found.append(client)
        return found

    def ask(self, client: Client, message: Message, due_s: float) -> None:
        """Send ``message``; that the connection is gone is told by the next ``take``."""
        client.message, client.due_s = message, due_s
        request = message.request
        try:
            sent = client.send(request)
        except WOULD_BLOCK:
            sent = 0
        except OSError:
            return
        if sent != len(request):
            assert client.sock is not None
            client.unsent = memoryview(request)[sent:]
            self._epoll.modify(client.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def take(self, client: Client) -> str | None:
        """The verdict on the reply that ``client`` has, RIGHT or a kind of failure; None while it isn't whole.

        A lost connection is a failure if something was under way, and None, with ``client.sock`` None, if not.
        """
        buffer, message = self._buffer, client.message
        ending = message.ending if message is not None and not client.held else None
        try:
            count = client.recv_into(buffer)
        except WOULD_BLOCK:
            return None
        except OSError:
            count = 0
        if ending is not None and buffer.endswith(ending, 0, count) and buffer.startswith(OK):
            client.message = None
            return RIGHT
        return self._take_slowly(client, message, count)

    def _take_slowly(self, client: Client, message: Message | None, count: int) -> str | None:
        if not count or message is None:
            # The server hung up; or it speaks unasked, after which nothing it says can be trusted.
            self.disconnect(client)
            return None if message is None else LOST
        client.held += memoryview(self._buffer)[:count]
        ending = message.ending
        if ending is not None and client.held.startswith(OK) and client.held.endswith(ending):
            client.held.clear()
            client.message = None
            return RIGHT
        reply = received(client.held)
        if reply is None:
            return None
        client.held.clear()
        client.message = None
        if ending is None:
            client.reply = reply
        if reply.status != 200:
            return f"status {reply.status}"
        return RIGHT if ending is None or is_right(ending, reply) else WRONG

    def _send_rest(self, client: Client) -> None:
        assert client.sock is not None
        assert client.unsent is not None
        try:
            sent = client.send(client.unsent)
        except OSError:  # told by the next read, if it is more than a full buffer
            return
        client.unsent = client.unsent[sent:] if sent < len(client.unsent) else None
        if client.unsent is None:
            self._epoll.modify(client.sock.fileno(), select.EPOLLIN)


def learn(host: str, port: int, requests: Sequence[bytes]) -> list[Message]:
    """Each request with the reply that it gets when it is sent alone.

    Raises Unavailable if nobody answers, InvalidInput if a reply isn't a 200.
    """
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S) as sock:
            sock.settimeout(60.0)
            return [learned(request, alone(sock, request, f"{host}:{port}"), f"{host}:{port}") for request in requests]
    except OSError as error:
        raise Unavailable(f"nobody answers at {host}:{port}: {error.strerror or error}") from error


def alone(sock: socket.socket, request: bytes, where: str) -> bytes:
    """The whole reply to ``request`` on a connection where nothing else is under way. Raises Unavailable."""
    sock.sendall(request)
    data = bytearray()
    while received(data) is None:
        piece = sock.recv(1 << 18)
        if not piece:
            raise Unavailable(f"{where} closed the connection in the middle of a reply")
        data += piece
    return bytes(data)
