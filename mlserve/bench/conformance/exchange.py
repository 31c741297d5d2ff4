"""HTTP/1.1 by hand: exactly the bytes that a rule wants on the wire, and the reply as it came."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BufferedReader
from typing import Any
from urllib.parse import urlsplit

from mlserve.bench.conformance.verdicts import RuleBroken
from mlserve.errors import Unavailable

HEADER_LENGTH = "inference-header-content-length"


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: its status, its headers by lower-case name, its body as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON, where the tokens NaN and Infinity are taken. Raises RuleBroken."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise RuleBroken(f"{self.status} with a body that is not JSON: {_short(self.body)}") from None

    def document(self) -> dict[str, Any]:
        """The body of a 200 as a JSON object. Raises RuleBroken."""
        self.expect(200)
        found = self.json()
        if not isinstance(found, dict):
            raise RuleBroken(f"a JSON {type(found).__name__} in place of an object")
        return found

    def expect(self, *statuses: int) -> Reply:
        """Raises RuleBroken unless the status is one of ``statuses``."""
        if self.status not in statuses:
            wanted = " or ".join(map(str, statuses))
            raise RuleBroken(f"{self.status} in place of {wanted}: {_short(self.body)}")
        return self

    def refusal(self, *statuses: int) -> str:
        """The sentence of an error: any 4xx, or one of ``statuses``, with ``{"error": "…"}``. Raises RuleBroken."""
        if statuses:
            self.expect(*statuses)
        elif not 400 <= self.status < 500:
            raise RuleBroken(f"{self.status} in place of a refusal (4xx): {_short(self.body)}")
        found = self.json()
        if not isinstance(found, dict) or not isinstance(found.get("error"), str) or not found["error"]:
            raise RuleBroken(f'{self.status} without {{"error": "…"}}: {_short(self.body)}')
        return str(found["error"])


class Connection:
    """One connection, on which anything may be sent."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._replies = stream.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send all that the server takes: one that has closed the connection may have said why before."""
        with suppress(OSError):
            self._stream.sendall(data)

    def reply(self, method: str = "POST") -> Reply:
        """The next reply. Raises RuleBroken for none in time, and for what is no HTTP."""
        found = self.reply_or_close(method)
        if found is None:
            raise RuleBroken("the connection was closed without a reply")
        return found

    def reply_or_close(self, method: str = "POST") -> Reply | None:
        """The next reply, None where the server closes the connection in place of one. Raises RuleBroken."""
        response = http.client.HTTPResponse(_Kept(self._replies), method=method)  # type: ignore[arg-type]  # only makefile is used
        try:
            response.begin()
            body = response.read()
        except TimeoutError:
            raise RuleBroken("no reply in time") from None
        except (http.client.RemoteDisconnected, ConnectionError):
            return None
        except (http.client.HTTPException, OSError, ValueError) as error:
            raise RuleBroken(f"no whole reply: {type(error).__name__} {error}".rstrip()) from None
        finally:
            response.close()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, headers, body)

    def interim(self) -> bytes:
        """What comes before a final reply, such as ``100 Continue``: up to its empty line. Raises RuleBroken."""
        lines = []
        try:
            while line := self._replies.readline(4096):
                lines.append(line)
                if line in (b"\r\n", b"\n"):
                    break
        except OSError as error:
            raise RuleBroken(f"no interim reply: {error}") from None
        return b"".join(lines)

    def is_closed(self, within_s: float) -> bool:
        """Whether the server closes the connection in time, without another byte."""
        self._stream.settimeout(within_s)
        try:
            return self._replies.read(1) == b""
        except TimeoutError:
            return False
        except OSError:
            return True


class _Kept:
    """What HTTPResponse takes for a socket: always the same reader, so that nothing read ahead is lost."""

    def __init__(self, replies: BufferedReader) -> None:
        self._replies = replies

    def makefile(self, mode: str) -> _Kept:
        return self

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._replies, name)


@dataclass(frozen=True, slots=True)
class HttpPort:
    """The HTTP side of a server. ``headers`` go with every request: an API key, say."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    ca_file: str | None = None
    timeout_s: float = 10.0

    def ask(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        """The reply to one request on a connection of its own. Raises RuleBroken."""
        with self.connected() as connection:
            connection.send(self.head(method, path, headers, len(body) if body is not None else None) + (body or b""))
            return connection.reply(method)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return self.ask("GET", path, None, headers)

    def post(self, path: str, body: bytes | Any = b"", headers: Mapping[str, str] | None = None) -> Reply:
        """``body`` as it is, or as the JSON of it."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", path, data, headers)

    def head(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, length: int | None = None
    ) -> bytes:
        """The bytes of a request up to its body, in HTTP/1.1 and kept alive."""
        parts = urlsplit(self.url)
        lines = [f"{method} {parts.path.rstrip('/')}{path} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in {**self.headers, **(headers or {})}.items()]
        lines += [f"Content-Length: {length}"] if length is not None else []
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """A connection, closed in the end. Raises Unavailable."""
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            stream = socket.create_connection((host, port), timeout=self.timeout_s)
        except OSError as error:
            raise Unavailable(f"no server at {self.url}: {(error.strerror or str(error)).lower()}") from error
        with stream:
            if parts.scheme == "https":
                try:
                    stream = ssl.create_default_context(cafile=self.ca_file).wrap_socket(stream, server_hostname=host)
                except OSError as error:
                    raise Unavailable(f"no TLS with {self.url}: {error}") from error
            with stream:
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                yield Connection(stream)


def _short(body: bytes) -> str:
    text = body[:160].decode("utf-8", "backslashreplace")
    return repr(text + "…" if len(body) > 160 else text) if body else "no body"
