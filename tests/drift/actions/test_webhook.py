"""A webhook is signed, sent again until it arrives or time is up, goes nowhere it must not, and tells no row."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlserve.core.settings import DriftSettings
from mlserve.drift.actions.posting import Destination, Response, destination_of, post
from mlserve.drift.actions.signing import read_secrets, signed_headers
from mlserve.drift.actions.webhook import act
from mlserve.errors import InvalidConfig, Unavailable
from tests.drift.actions.making import Time, occasion
from tests.serving.security.certificates import Authority

SECRETS = [b"k" * 24, b"new secret of the receiver!!"]


class Receiver(ThreadingHTTPServer):
    """Answers with each of ``statuses`` in turn, the last again and again; keeps what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses = [200]
        self.headers: dict[str, str] = {}
        self.got: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook?token=hidden"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        status = self.server.statuses.pop(0) if len(self.server.statuses) > 1 else self.server.statuses[0]
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    lines = ["whsec_" + base64.b64encode(SECRETS[0]).decode(), base64.b64encode(SECRETS[1]).decode()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def to(secret: Path, *urls: str, **changes: Any) -> DriftSettings:
    said = {"webhooks": urls, "webhook_secret_file": str(secret), "webhook_hosts": ("127.0.0.1",)}
    return DriftSettings(**(said | changes))


def test_a_message_arrives_signed_with_every_secret(receiver: Receiver, secret: Path, tmp_path: Path) -> None:
    effect = act(occasion(None, tmp_path, to(secret, receiver.url)))

    ((path, headers, body),) = receiver.got
    assert (effect.state, path, headers["content-type"]) == ("done", "/hook?token=hidden", "application/json")
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = ["v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in SECRETS]
    assert headers["webhook-signature"].split() == expected
    assert int(headers["webhook-timestamp"]) == int(Time().now.timestamp())


def test_a_message_tells_what_drifts_and_no_row(receiver: Receiver, secret: Path, tmp_path: Path) -> None:
    act(occasion(None, tmp_path, to(secret, receiver.url)))

    message = json.loads(receiver.got[0][2])
    assert message["type"] == "drift.critical"
    assert message["data"]["ref"] == "fraud:2"
    assert [feature["name"] for feature in message["data"]["features"]] == ["age"]
    assert message["data"]["window"]["rows"] == 5
    assert "r1" not in receiver.got[0][2].decode()


def test_what_did_not_arrive_is_sent_again_under_the_same_id(receiver: Receiver, secret: Path, tmp_path: Path) -> None:
    receiver.statuses, time = [503, 500, 204], Time()

    effect = act(occasion(None, tmp_path, to(secret, receiver.url), time=time))

    (delivery,) = effect.figures["deliveries"]
    assert (delivery["arrived"], delivery["attempts"], delivery["status"]) == (True, 3, 204)
    assert time.slept == [1.0, 2.0]
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1
    stamps = [int(headers["webhook-timestamp"]) for _, headers, _ in receiver.got]
    assert [stamp - stamps[0] for stamp in stamps] == [0, 1, 3]


def test_a_receiver_that_asks_for_time_gets_it(receiver: Receiver, secret: Path, tmp_path: Path) -> None:
    receiver.statuses, receiver.headers, time = [429, 200], {"Retry-After": "17"}, Time()

    act(occasion(None, tmp_path, to(secret, receiver.url), time=time))

    assert time.slept == [17.0]


def test_attempts_and_time_have_an_end(receiver: Receiver, secret: Path, tmp_path: Path) -> None:
    receiver.statuses = [500]
    few, short = Time(), Time()

    by_count = act(occasion(None, tmp_path, to(secret, receiver.url, webhook_attempts=3), time=few))
    by_time = act(
        occasion(None, tmp_path, to(secret, receiver.url, webhook_timeout_s=5, webhook_attempts=9), time=short)
    )

    assert (by_count.state, few.slept) == ("failed", [1.0, 2.0])
    assert (by_time.state, sum(short.slept)) == ("failed", 5.0)
    assert "status 500" in by_time.detail


def test_a_certificate_is_looked_at_under_the_name_that_was_asked_for(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    port = receiver.server_address[1]
    known, other = (Destination(name, port, "/", "127.0.0.1", tls=True) for name in ("localhost", "hooks.example"))

    assert post(known, {}, b"{}", 10.0).status == 200
    with pytest.raises(Unavailable, match="did not answer"):
        post(other, {}, b"{}", 10.0)
    assert len(receiver.got) == 1


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 410])
def test_a_refusal_is_final_and_a_redirect_is_not_followed(
    receiver: Receiver, secret: Path, tmp_path: Path, status: int
) -> None:
    receiver.statuses, receiver.headers = [status], {"Location": receiver.url}

    effect = act(occasion(None, tmp_path, to(secret, receiver.url)))

    assert (effect.state, len(receiver.got)) == ("failed", 1)
    assert f"status {status}" in effect.detail


def test_one_receiver_that_is_gone_keeps_none_from_being_told(receiver: Receiver, secret: Path, tmp_path: Path) -> None:
    gone = "http://127.0.0.1:1/hook"

    effect = act(occasion(None, tmp_path, to(secret, gone, receiver.url, webhook_attempts=2)))

    assert (effect.state, len(receiver.got)) == ("failed", 1)
    assert effect.detail.startswith("1 of 2 delivered; http://127.0.0.1:1: http://127.0.0.1:1 did not answer")


def test_what_is_kept_of_a_delivery_is_not_the_urls_own_secret(
    receiver: Receiver, secret: Path, tmp_path: Path
) -> None:
    receiver.statuses = [404]

    effect = act(occasion(None, tmp_path, to(secret, receiver.url)))

    assert "hidden" not in f"{effect}"


@pytest.mark.parametrize(
    ("url", "address", "allowed", "fact"),
    [
        pytest.param("http://hooks.example/x", "93.184.215.14", (), "without TLS", id="no TLS"),
        pytest.param("https://hooks.example/x", "10.0.0.7", (), "which is not public", id="a private network"),
        pytest.param("https://hooks.example/x", "169.254.169.254", (), "not public", id="a cloud's metadata"),
        pytest.param("https://hooks.example/x", "::1", (), "not public", id="this machine, IPv6"),
        pytest.param("https://hooks.example/x", "::ffff:127.0.0.1", (), "not public", id="this machine, mapped"),
        pytest.param("http://other.example/x", "10.0.0.7", ("hooks.example",), "without TLS", id="another host"),
        pytest.param("http://hooks.example:81/x", "10.0.0.7", ("hooks.example:80",), "without TLS", id="another port"),
        pytest.param("https://ann:pw@hooks.example/", "93.184.215.14", (), "without a user", id="a user"),
        pytest.param("file:///etc/passwd", "93.184.215.14", (), "no URL of http", id="a file"),
        pytest.param("https://[::1/", "93.184.215.14", (), "is no URL", id="nothing at all"),
    ],
)
def test_a_place_that_must_not_be_reached_is_refused(
    url: str, address: str, allowed: tuple[str, ...], fact: str
) -> None:
    with pytest.raises(InvalidConfig, match=fact):
        destination_of(url, allowed, lambda host, port: [address])


@pytest.mark.parametrize("allowed", ["hooks.example", "hooks.example:8080"])
def test_a_host_that_is_named_may_be_inside_and_without_tls(allowed: str) -> None:
    found = destination_of("http://hooks.example:8080", (allowed,), lambda host, port: ["10.0.0.7"])

    assert found == Destination("hooks.example", 8080, "/", "10.0.0.7", tls=False)


def test_a_refused_place_is_not_tried_twice(secret: Path, tmp_path: Path) -> None:
    sent: list[Destination] = []

    def send(to: Destination, headers: object, body: bytes, timeout_s: float) -> Response:
        sent.append(to)
        return Response(200)

    effect = act(occasion(None, tmp_path, to(secret, "https://127.0.0.2/x", webhook_hosts=())), send)

    assert (effect.state, sent) == ("failed", [])
    assert "127.0.0.2, which is not public" in effect.detail


def test_a_server_that_answers_a_byte_at_a_time_is_left() -> None:
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_drip, args=(server, ended))
        thread.start()
        slow = Destination("127.0.0.1", server.getsockname()[1], "/", "127.0.0.1", tls=False)

        with pytest.raises(Unavailable, match="did not answer: timed out"):
            post(slow, {}, b"{}", 0.2)

        ended.set()
        thread.join()


def _drip(server: socket.socket, ended: threading.Event) -> None:
    """Send a header's bytes for ever, each well within the limit of one step."""
    peer, _ = server.accept()
    with peer, suppress(OSError):
        peer.sendall(b"HTTP/1.1 200 OK\r\nx: ")
        while not ended.wait(0.02):
            peer.sendall(b"y")


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        pytest.param("", "holds no secret", id="empty"),
        pytest.param("c2hvcnQ=", "holds no secret of 24 bytes", id="short"),
        pytest.param("whsec_not base64", "is not base64", id="words"),
    ],
)
def test_what_is_no_secret_is_an_error(tmp_path: Path, text: str, fact: str) -> None:
    path = tmp_path / "secret"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(InvalidConfig, match=fact):
        read_secrets(path)
    with pytest.raises(InvalidConfig, match="cannot read"):
        read_secrets(tmp_path / "none")


def test_a_signature_is_of_id_time_and_body() -> None:
    one = signed_headers(SECRETS[:1], "msg_1", 1, b"{}")["webhook-signature"]

    others = [
        signed_headers(SECRETS[:1], *changed)["webhook-signature"]
        for changed in (("msg_2", 1, b"{}"), ("msg_1", 2, b"{}"), ("msg_1", 1, b"{ }"))
    ]

    assert one not in others
