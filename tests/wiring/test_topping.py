"""Looking at a server again and again, with time that is not real."""

from __future__ import annotations

import socket
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from mlserve.errors import Forbidden, NotFound, Unauthenticated, Unavailable, UsageError
from mlserve.wiring.topping import look, metrics_text, server_url

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Server:
    """A server of which ten more requests are answered each time it is looked at, and the time that goes by."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.answered = 0
        self.slept: list[float] = []

    def read(self, url: str) -> str:
        self.answered += 10
        self.now_s += 0.25  # a look takes a while
        return f'mlserve_build_info{{version="1"}} 1\nmlserve_requests_answered_total{{model="m",version="1"}} {self.answered}\n'  # noqa: E501 (one line of text a line)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def test_each_look_is_an_interval_after_the_last_however_long_it_takes() -> None:
    server = Server()

    time = {"sleep": server.sleep, "clock": lambda: server.now_s, "now": lambda: NOW}
    found = list(look("u", interval_s=2.0, count=3, read=server.read, **time))  # type: ignore[arg-type]

    assert server.slept == [2.0, 1.75, 1.75]
    assert [one.interval_s for one in found] == [2.25, 2.0, 2.0]
    assert [one.rates[0].requests_per_s for one in found] == [10 / 2.25, 5.0, 5.0]
    assert found[0].to_dict()["at"] == "2026-01-02T03:04:05.000Z"
    assert found[0].to_dict()["models"][0]["model"] == "m"


def test_the_server_meant_is_the_one_named_or_the_one_of_the_settings(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server_url("http://box:9000/v2/models/m") == "http://box:9000"
    assert server_url("box:9000") == "http://box:9000"
    assert server_url(None) == "http://127.0.0.1:8000"
    monkeypatch.setenv("MLSERVE_SERVE__HOST", "0.0.0.0")
    monkeypatch.setenv("MLSERVE_SERVE__PORT", "9001")
    assert server_url(None) == "http://127.0.0.1:9001"
    with pytest.raises(UsageError):
        server_url("ftp://box")


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, NotFound), (401, Unauthenticated), (403, Forbidden), (503, Unavailable)],
    ids=["no metrics", "no key", "a key without the scope", "another answer"],
)
def test_a_server_without_metrics_is_told_from_none(status: int, error: type[Exception]) -> None:
    keys: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.append(self.headers["authorization"])
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(error):
            metrics_text(f"http://127.0.0.1:{server.server_port}", key="k-1")
        thread.join()
    assert keys == ["Bearer k-1"]


def test_where_nobody_listens_the_server_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(Unavailable, match=f"no server answers at http://127.0.0.1:{port}: connection refused"):
        metrics_text(f"http://127.0.0.1:{port}")
