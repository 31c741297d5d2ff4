"""HTTP clients for load over TLS. Whom to trust is the system's choice, or that of ``SSL_CERT_FILE``."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from typing import cast

from mlserve.bench.clients import CONNECT_S, Client, Clients, alone
from mlserve.bench.messages import Message, learned
from mlserve.errors import Unavailable


class TlsClients(Clients):
    """As ``Clients``, each connection encrypted; a server whose name or certificate is not trusted is Unavailable."""

    def __init__(self, host: str, port: int, count: int) -> None:
        self._context = ssl.create_default_context()
        super().__init__(host, port, count)

    def take(self, client: Client) -> str | None:
        verdict = super().take(client)
        # What is decrypted already wakes no epoll.
        while verdict is None and client.sock is not None and cast(ssl.SSLSocket, client.sock).pending():
            verdict = super().take(client)
        return verdict

    def _opened(self) -> socket.socket:
        return connected(self._address, self._context)


def connected(address: tuple[str, int], context: ssl.SSLContext) -> ssl.SSLSocket:
    """A connection to ``address``, the handshake done. Raises OSError."""
    sock = socket.create_connection(address, timeout=CONNECT_S)
    try:
        return context.wrap_socket(sock, server_hostname=address[0])
    except OSError:
        sock.close()
        raise


def learn_over_tls(host: str, port: int, requests: Sequence[bytes]) -> list[Message]:
    """As ``clients.learn``, over TLS."""
    where = f"{host}:{port}"
    try:
        with connected((host, port), ssl.create_default_context()) as sock:
            sock.settimeout(60.0)
            return [learned(request, alone(sock, request, where), where) for request in requests]
    except OSError as error:
        raise Unavailable(f"nobody answers at {where}: {error.strerror or error}") from error
