"""One HTTP request to a place that was checked first: over TLS, to an address of the open internet, redirects unheeded.

A webhook's URL may come from who can write a settings file and not reach this machine's network. So plain HTTP and
addresses that are not public are for hosts that ``drift.webhook_hosts`` names, and the connection goes to the address
that was checked, not to what the name means a moment later.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from mlserve.errors import InvalidConfig, Unavailable

Resolve = Callable[[str, int], list[str]]


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to connect (``address``), what to say there (``host``, ``port``, ``target``), and whether over TLS."""

    host: str
    port: int
    target: str
    address: str
    tls: bool

    @property
    def label(self) -> str:
        """What may be shown and kept: the path of a webhook's URL is often its password."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Response:
    """``retry_after_s`` is what the header says in seconds, None without it."""

    status: int
    retry_after_s: float | None = None


def addresses_of(host: str, port: int) -> list[str]:
    """What the machine's resolver says. Raises Unavailable."""
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"no address for '{host}'") from error


def destination_of(url: str, allowed: Collection[str], resolve: Resolve = addresses_of) -> Destination:
    """Where ``url`` leads, if it may be gone to; ``allowed`` are hosts, or ``host:port``.

    Raises InvalidConfig for one that may not; Unavailable for a name without an address.

    >>> destination_of("https://hooks.example/x?y", (), lambda host, port: ["93.184.215.14"]).target
    '/x?y'
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidConfig("a webhook is no URL") from error
    if host is None or parts.scheme not in ("https", "http") or parts.username is not None:
        raise InvalidConfig("a webhook is no URL of http(s) without a user", hint='webhooks = ["https://host/path"]')
    tls = parts.scheme == "https"
    port = port or (443 if tls else 80)
    is_allowed = host in allowed or f"{host}:{port}" in allowed
    if not tls and not is_allowed:
        raise InvalidConfig(f"the webhook to '{host}' is without TLS", hint=f'https, or webhook_hosts = ["{host}"]')
    addresses = resolve(host, port)
    inside = [address for address in addresses if not ipaddress.ip_address(address.partition("%")[0]).is_global]
    if inside and not is_allowed:
        raise InvalidConfig(
            f"the webhook to '{host}' leads to {inside[0]}, which is not public", hint=f'webhook_hosts = ["{host}"]'
        )
    if not addresses:
        raise Unavailable(f"no address for '{host}'")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(host, port, target, addresses[0], tls)


def post(to: Destination, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Response:
    """The status that ``to`` answers with, within ``timeout_s`` in all; its body is left unread. Raises Unavailable."""
    connection = _connection(to, timeout_s)
    # A socket's own limit is for each step, and a server that sends a byte a second takes many.
    is_late = threading.Event()
    guard = threading.Timer(timeout_s, _cut, [connection, is_late])
    guard.daemon = True
    guard.start()
    try:
        connection.request("POST", to.target, body, {"content-type": "application/json", **headers})
        found = connection.getresponse()
        if is_late.is_set():  # headers that end in the middle are an answer to http.client
            raise TimeoutError
        return Response(found.status, _seconds(found.getheader("retry-after")))
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{to.label} did not answer: {_words(error)}") from error
    finally:
        guard.cancel()
        connection.close()


class _Pinned(http.client.HTTPConnection):
    """A connection to the address that was checked, under the name that was asked for."""

    def __init__(self, to: Destination, timeout_s: float) -> None:
        super().__init__(to.host, to.port, timeout=timeout_s)
        self._to = to

    def connect(self) -> None:
        self.sock = socket.create_connection((self._to.address, self._to.port), self.timeout)
        if self._to.tls:
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self._to.host)


def _connection(to: Destination, timeout_s: float) -> http.client.HTTPConnection:
    return _Pinned(to, timeout_s)


def _cut(connection: http.client.HTTPConnection, is_late: threading.Event) -> None:
    is_late.set()
    with suppress(OSError, AttributeError):  # not connected yet, or not any more
        connection.sock.shutdown(socket.SHUT_RDWR)


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.strip().isdigit() else None


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
