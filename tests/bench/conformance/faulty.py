"""A server in front of another, that passes requests on and spoils them or their replies: the one with the faults."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from mlserve.bench.conformance.exchange import HEADER_LENGTH


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The JSON of an inference request, None where there is none."""
        length = self.headers.get(HEADER_LENGTH)
        try:
            return json.loads(self.body[: int(length)] if length else self.body)
        except ValueError:
            return None

    @property
    def is_inference(self) -> bool:
        return self.path.endswith("/infer")

    def with_document(self, document: Any) -> Asked:
        head = json.dumps(document).encode()
        length = self.headers.get(HEADER_LENGTH)
        if not length:
            return replace(self, body=head)
        return replace(
            self, body=head + self.body[int(length) :], headers=self.headers | {HEADER_LENGTH: str(len(head))}
        )


@dataclass(frozen=True)
class Answered:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        length = self.headers.get(HEADER_LENGTH)
        try:
            return json.loads(self.body[: int(length)] if length else self.body)
        except ValueError:
            return None

    def with_document(self, document: Any) -> Answered:
        head = json.dumps(document).encode()
        length = self.headers.get(HEADER_LENGTH)
        if not length:
            return replace(self, body=head)
        return replace(
            self, body=head + self.body[int(length) :], headers=self.headers | {HEADER_LENGTH: str(len(head))}
        )


def _as_it_came(asked: Asked) -> Asked:
    return asked


def _as_answered(asked: Asked, answered: Answered) -> Answered:
    return answered


@dataclass(frozen=True)
class Fault:
    """What is done wrong, to requests on their way in and to replies on their way out."""

    name: str
    coming: Callable[[Asked], Asked] = _as_it_came
    going: Callable[[Asked, Answered], Answered | None] = _as_answered
    """None closes the connection without a reply."""


@contextmanager
def spoiled(url: str, fault: Fault) -> Iterator[str]:
    """The URL of a server that answers as the one at ``url``, with ``fault``."""
    upstream = urlsplit(url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = fault.coming(Asked(self.command, self.path, headers, body))
            connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=20)
            try:
                sent = {
                    name: value
                    for name, value in asked.headers.items()
                    if name not in ("host", "content-length", "connection")
                }
                connection.request(asked.method, asked.path, asked.body or None, sent)
                response = connection.getresponse()
                found = {name.lower(): value for name, value in response.getheaders()}
                answered = fault.going(asked, Answered(response.status, found, response.read()))
            finally:
                connection.close()
            if answered is None:
                self.close_connection = True
                return
            self.send_response(answered.status)
            for name, value in answered.headers.items():
                if name not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answered.body)))
            self.end_headers()
            if asked.method != "HEAD":
                self.wfile.write(answered.body)

        do_GET = do_POST = do_HEAD = _pass_on

        def log_message(self, format: str, *args: Any) -> None:
            pass

    front = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=front.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{front.server_port}"
    finally:
        front.shutdown()
        front.server_close()
        thread.join(10)
