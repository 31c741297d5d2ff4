"""gRPC clients for load: streams on a few connections, with the interface of ``clients.Clients``.

A client here is a call at a time; many share a connection, as those of one channel do. What the clients of one turn
ask goes out together, as what a server answers in one turn comes in together.
"""

from __future__ import annotations

import select
import socket
import struct
from collections import deque
from collections.abc import Mapping

from mlserve.bench import http2
from mlserve.bench.clients import RIGHT, Client
from mlserve.bench.grpc_messages import is_same_response
from mlserve.bench.messages import Message
from mlserve.bench.outcomes import LOST, WRONG
from mlserve.errors import Unavailable

STREAMS = 64
"""So many clients share a connection."""
_BUFFER_BYTES = 1 << 18
_CONNECT_S = 10.0
_FINE_S = 3e-3
_TOP_UP_BYTES = 1 << 26
_STATUSES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip


class _Connection:
    """One connection: the calls under way on it by stream, and what still has to be sent."""

    def __init__(self, host: str, port: int, headers: bytes) -> None:
        try:
            self.sock = socket.create_connection((host, port), timeout=_CONNECT_S)
        except OSError as error:
            raise Unavailable(f"nobody answers at {host}:{port}: {error.strerror or error}") from error
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.calls: dict[int, Client] = {}
        self.users: list[Client] = []
        self.is_writable = True
        self._headers = headers
        self._out: list[bytes] = [http2.PREFACE, http2.opening()]
        self._unsent = b""
        self._received = b""
        self._next = 1
        self._window = http2.INITIAL_WINDOW
        self._stream_window = http2.INITIAL_WINDOW
        self._windows: dict[int, int] = {}
        self._held: deque[tuple[int, memoryview]] = deque()
        self._taken_bytes = 0

    def call(self, client: Client, message: bytes) -> None:
        stream, self._next = self._next, self._next + 2
        self.calls[stream] = client
        self._out.append(http2.frame(http2.HEADERS, http2.END_HEADERS, stream, self._headers))
        size = len(message)
        if size <= http2.FRAME_BYTES and size <= min(self._window, self._stream_window) and not self._held:
            self._window -= size
            self._out.append(http2.frame(http2.DATA, http2.END_STREAM, stream, message))
            return
        self._windows[stream] = self._stream_window
        self._held.append((stream, memoryview(message)))
        self._release()

    def flush(self) -> bool:
        """Send what there is; whether the socket took all of it."""
        if self._out or self._unsent:
            data = self._unsent + b"".join(self._out)
            self._out.clear()
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                sent = len(data)  # told by the next read
            self._unsent = data[sent:] if sent < len(data) else b""
        return not self._unsent

    def receive(self, buffer: bytearray) -> list[Client] | None:
        """Those whose calls have ended, each with its ``verdict``; None if the connection is gone."""
        try:
            count = self.sock.recv_into(buffer)
        except BlockingIOError:
            return []
        except OSError:
            count = 0
        if not count:
            return None
        data = self._received + bytes(memoryview(buffer)[:count])
        ended: list[Client] = []
        for found in http2.frames(data):
            if isinstance(found, int):
                self._received = data[found:]
            elif found[0] in (http2.DATA, http2.HEADERS, http2.RST_STREAM):
                self._note(found, ended)
            elif not self._control(found):
                return None
        return ended

    def _note(self, found: http2.Frame, ended: list[Client]) -> None:
        kind, flags, stream, payload = found
        client = self.calls.get(stream)
        if client is None:
            return
        if kind == http2.DATA:
            client.held += payload[1 : len(payload) - payload[0]] if flags & http2.PADDED else payload
            self._taken_bytes += len(payload)
            if self._taken_bytes > _TOP_UP_BYTES:
                self._out.append(http2.window_update(0, self._taken_bytes))
                self._taken_bytes = 0
        if kind == http2.RST_STREAM or flags & http2.END_STREAM:
            del self.calls[stream]
            self._windows.pop(stream, None)
            client.verdict = _verdict(client, payload if kind == http2.HEADERS else b"")
            client.held.clear()
            ended.append(client)

    def _control(self, found: http2.Frame) -> bool:
        """Answer what is about the connection itself; False if it is over."""
        kind, flags, stream, payload = found
        if kind == http2.SETTINGS and not flags & http2.ACK:
            size = http2.window_size(payload)
            if size is not None:
                grown, self._stream_window = size - self._stream_window, size
                self._windows = {stream: window + grown for stream, window in self._windows.items()}
            self._out.append(http2.frame(http2.SETTINGS, http2.ACK, 0))
        elif kind == http2.PING and not flags & http2.ACK:
            self._out.append(http2.frame(http2.PING, http2.ACK, 0, payload))
        elif kind == http2.WINDOW_UPDATE:
            (size,) = struct.unpack(">I", payload)
            if stream == 0:
                self._window += size
            elif stream in self._windows:
                self._windows[stream] += size
        self._release()
        return kind != http2.GOAWAY

    def _release(self) -> None:
        """Send as much of the held messages as the windows allow, in order."""
        while self._held:
            stream, rest = self._held[0]
            size = min(len(rest), http2.FRAME_BYTES, self._window, self._windows.get(stream, len(rest)))
            if size <= 0:
                return
            is_last = size == len(rest)
            flags = http2.END_STREAM if is_last else 0
            self._out.append(http2.frame(http2.DATA, flags, stream, bytes(rest[:size])))
            self._window -= size
            if is_last:
                self._held.popleft()
                self._windows.pop(stream, None)
            else:
                self._windows[stream] -= size
                self._held[0] = stream, rest[size:]


class GrpcClients:
    """``count`` clients of one method of one server. Raises Unavailable if nobody answers there."""

    def __init__(self, host: str, port: int, count: int, path: str, metadata: Mapping[str, str] | None = None) -> None:
        self._address = host, port
        self._headers = http2.request_headers(path, f"{host}:{port}", metadata or {})
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._buffer = bytearray(_BUFFER_BYTES)
        self.all = [Client(number) for number in range(count)]
        try:
            for client in self.all:
                self.connect(client)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for connection in self._connections.values():
            connection.sock.close()
        self._epoll.close()

    def connect(self, client: Client) -> None:
        """Put ``client`` on a connection that has room, a new one if there is none. Raises Unavailable."""
        roomy = (one for one in self._connections.values() if len(one.users) < STREAMS)
        connection = next(roomy, None) or self._connected()
        connection.users.append(client)
        client.sock, client.message, client.verdict = connection.sock, None, None
        client.held.clear()

    def ready(self, timeout_s: float) -> list[Client]:
        """Those whose calls have ended, after at most ``timeout_s``; first, all that was asked is sent."""
        for connection in self._connections.values():
            self._flush(connection)
        if 0 < timeout_s < _FINE_S:
            select.select([self._epoll], [], [], timeout_s)
            timeout_s = 0.0
        ended: list[Client] = []
        for fd, events in self._epoll.poll(max(0.0, timeout_s - 1e-3)):
            connection = self._connections[fd]
            found = connection.receive(self._buffer) if events & ~select.EPOLLOUT else []
            if found is None:
                ended += self._lost(fd, connection)
            else:
                ended += found
        return ended

    def ask(self, client: Client, message: Message, due_s: float) -> None:
        """Call with ``message``; it goes out with the next ``ready``."""
        client.message, client.due_s = message, due_s
        assert client.sock is not None
        self._connections[client.sock.fileno()].call(client, message.request)

    def take(self, client: Client) -> str | None:
        """The verdict on the call of ``client`` that has ended."""
        verdict, client.verdict, client.message = client.verdict, None, None
        return verdict

    def _connected(self) -> _Connection:
        connection = _Connection(*self._address, self._headers)
        self._connections[connection.sock.fileno()] = connection
        self._epoll.register(connection.sock.fileno(), select.EPOLLIN)
        return connection

    def _flush(self, connection: _Connection) -> None:
        took_all = connection.flush()
        if took_all is not connection.is_writable:
            connection.is_writable = took_all
            self._epoll.modify(connection.sock.fileno(), select.EPOLLIN | (0 if took_all else select.EPOLLOUT))

    def _lost(self, fd: int, connection: _Connection) -> list[Client]:
        del self._connections[fd]
        connection.sock.close()
        for client in connection.users:
            client.verdict = LOST if client.message is not None else None
            client.sock = None
        return connection.users


def _verdict(client: Client, block: bytes) -> str:
    message = client.message
    status = http2.status_in(block)
    if not client.held or status:
        known = status is not None and 0 < status < len(_STATUSES)
        return f"status {_STATUSES[status or 0]}" if known else "no answer"
    ending = message.ending if message is not None else None
    if ending is None or client.held == ending:
        return RIGHT
    return RIGHT if is_same_response(ending[5:], bytes(client.held[5:])) else WRONG
