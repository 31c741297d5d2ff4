"""A real server with TLS and keys, over HTTP and gRPC."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import msgspec
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from mlserve.core.settings import ServeSettings
from mlserve.errors import InvalidConfig, InvalidInput, UsageError
from mlserve.serving.parts import Targets
from mlserve.serving.security.keys import add_key, remove_key
from mlserve.serving.security.tls import TlsFiles, server_context
from mlserve.serving.server import serve
from tests import models
from tests.serving.security.certificates import Authority

PLAIN = ServeSettings(port=0, grpc_port=0, warmup_s=0.1, drain_s=5.0)
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]})
INFER = "/v2/models/iris/infer"
PATIENCE_S = 30.0
Told = Callable[[str, str], None]


@pytest.fixture
def iris(tmp_path: Path) -> Path:
    return models.saved(models.classifier(), tmp_path / "iris.onnx")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def with_server(iris: Path, settings: ServeSettings, told: Told) -> None:
    """Serve on this thread while ``told``, which gets the URL and gRPC's address, runs on another."""
    failures: list[BaseException] = []

    def tell(event: dict[str, Any]) -> None:
        try:
            told(event["http"], event["grpc"])
        except BaseException as error:
            failures.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def emit(event: dict[str, Any]) -> None:
        if event["event"] == "ready":
            threading.Thread(target=tell, args=(event,)).start()

    serve(Targets(files=(iris,)), settings, emit)
    if failures:
        raise failures[0]


def ask(
    url: str, method: str, path: str, headers: dict[str, str] | None = None, *, trust: ssl.SSLContext | None = None
) -> http.client.HTTPResponse:
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(str(parts.hostname), parts.port, timeout=PATIENCE_S, context=trust)
    else:
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=PATIENCE_S)
    with closing(connection):
        connection.request(method, path, BODY if path == INFER else None, headers or {})
        response = connection.getresponse()
        response.text = response.read().decode()  # type: ignore[attr-defined]  # kept beyond the connection
    return response


def trusting(authority: Authority, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.file))
    if client is not None:
        context.load_cert_chain(*client)
    return context


def live_over_grpc(address: str, authority: Authority, client: tuple[Path, Path] | None = None) -> bool:
    key = certificate = None
    if client is not None:
        certificate, key = client[0].read_bytes(), client[1].read_bytes()
    credentials = grpc.ssl_channel_credentials(authority.file.read_bytes(), key, certificate)
    with grpc.secure_channel(address, credentials) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        return bool(stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=PATIENCE_S).live)


def secured(pair: tuple[Path, Path], authority: Path | None = None) -> ServeSettings:
    return msgspec.structs.replace(
        PLAIN,
        tls_cert=str(pair[0]),
        tls_key=str(pair[1]),
        tls_ca=None if authority is None else str(authority),
    )


def test_both_ports_speak_tls_and_nothing_older_than_1_2(iris: Path, authority: Authority) -> None:
    def told(url: str, address: str) -> None:
        assert url.startswith("https://127.0.0.1:")
        assert ask(url, "POST", INFER, trust=trusting(authority)).status == 200
        assert live_over_grpc(address, authority)
        with pytest.raises((OSError, http.client.HTTPException)):
            ask(url.replace("https", "http"), "POST", INFER)

    pair = authority.issue("server")
    with_server(iris, secured(pair), told)

    # A client's OpenSSL no longer speaks what is older, so only the server's own word tells.
    assert server_context(TlsFiles(*pair)).minimum_version is ssl.TLSVersion.TLSv1_2


def test_with_an_authority_only_its_clients_come_in(iris: Path, authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger").issue("intruder")
    friend = authority.issue("friend")

    def told(url: str, address: str) -> None:
        assert ask(url, "POST", INFER, trust=trusting(authority, friend)).status == 200
        assert live_over_grpc(address, authority, friend)
        for nobody in (None, stranger):
            with pytest.raises((OSError, http.client.HTTPException)):
                ask(url, "POST", INFER, trust=trusting(authority, nobody))
            with pytest.raises(grpc.RpcError):
                live_over_grpc(address, authority, nobody)

    with_server(iris, secured(authority.issue("server"), authority.file), told)


def test_sighup_reads_the_certificate_again_and_a_broken_one_changes_nothing(
    iris: Path, tmp_path: Path, authority: Authority
) -> None:
    pair = authority.issue("server")

    def subject(url: str) -> str:
        parts = urlsplit(url)
        with ssl.create_default_context(cafile=str(authority.file)).wrap_socket(
            socket.create_connection((parts.hostname, parts.port)), server_hostname="127.0.0.1"
        ) as sock:
            return str(sock.getpeercert()["subject"][0][0][1])  # type: ignore[index]  # there is one

    def told(url: str, address: str) -> None:
        assert subject(url) == "server"
        for source, target in zip(authority.issue("renewed"), pair, strict=True):
            target.write_bytes(source.read_bytes())
        os.kill(os.getpid(), signal.SIGHUP)
        end_s = time.monotonic() + PATIENCE_S
        while subject(url) != "renewed":
            assert time.monotonic() < end_s, "the certificate stayed the old one"
        pair[0].write_text("broken")
        os.kill(os.getpid(), signal.SIGHUP)
        assert [subject(url) for _ in range(20)] == ["renewed"] * 20
        assert live_over_grpc(address, authority)

    with_server(iris, secured(pair), told)


def test_files_that_are_no_pair_are_named_before_anything_is_served(
    iris: Path, authority: Authority, tmp_path: Path
) -> None:
    certificate, _ = authority.issue("one")
    _, key = authority.issue("other")

    with pytest.raises(InvalidConfig, match=r"one\.crt' and '.*other\.key'"):
        serve(Targets(files=(iris,)), secured((certificate, key)), print)
    with pytest.raises(InvalidInput, match=r"none\.crt"):
        serve(Targets(files=(iris,)), secured((tmp_path / "none.crt", key)), print)
    with pytest.raises(InvalidConfig, match=r"iris\.onnx' holds no certificate"):
        serve(Targets(files=(iris,)), secured(authority.issue("good"), iris), print)
    with pytest.raises(UsageError, match="its key"):
        serve(Targets(files=(iris,)), msgspec.structs.replace(PLAIN, tls_cert=str(certificate)), print)


def test_each_route_wants_its_scope(iris: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    keys = {scope: {"Authorization": f"Bearer {add_key(file, scope, [scope])}"} for scope in ("infer", "manage")}
    keys["metrics"] = {"X-API-Key": add_key(file, "metrics", ["metrics"])}
    routes = {
        "infer": [("POST", INFER), ("GET", "/v2/models/iris"), ("POST", "/v2/repository/index")],
        "manage": [("POST", "/v2/repository/models/iris/load")],
        "metrics": [("GET", "/metrics")],
    }

    def told(url: str, address: str) -> None:
        assert ask(url, "GET", "/v2/health/live").status == ask(url, "GET", "/v2/health/ready").status == 200
        for scope, asked in routes.items():
            for method, path in asked:
                missing = ask(url, method, path)
                assert (missing.status, missing.headers["www-authenticate"]) == (401, "Bearer")
                assert set(json.loads(missing.text)) == {"error"}  # type: ignore[attr-defined]  # see ask
                for mine, headers in keys.items():
                    reply = ask(url, method, path, headers)
                    assert reply.status == (200 if mine == scope else 403), (mine, path)
        with grpc.insecure_channel(address) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            wanted = service_pb2.ModelMetadataRequest(name="iris")
            with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
                stub.ModelMetadata(wanted)
            with pytest.raises(grpc.RpcError, match="PERMISSION_DENIED"):
                stub.ModelMetadata(wanted, metadata=[("authorization", keys["manage"]["Authorization"])])
            metadata = [("authorization", keys["infer"]["Authorization"])]
            assert stub.ModelMetadata(wanted, metadata=metadata).name == "iris"
            load = service_pb2.RepositoryModelLoadRequest(model_name="iris")
            with pytest.raises(grpc.RpcError, match="PERMISSION_DENIED"):
                stub.RepositoryModelLoad(load, metadata=metadata)

    with_server(iris, msgspec.structs.replace(PLAIN, api_keys=str(file)), told)


def test_a_key_that_is_taken_back_ends_at_once_on_a_connection_that_is_open(iris: Path, tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    headers = {"Authorization": f"Bearer {add_key(file, 'billing', ['infer'])}"}

    def told(url: str, address: str) -> None:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=PATIENCE_S)

        def status() -> int:
            connection.request("POST", INFER, BODY, headers)
            response = connection.getresponse()
            response.read()
            return response.status

        assert status() == status() == 200
        remove_key(file, "billing")
        os.kill(os.getpid(), signal.SIGHUP)
        end_s = time.monotonic() + PATIENCE_S
        while status() == 200:
            assert time.monotonic() < end_s, "the key still opens"
        assert status() == 401
        connection.close()

    with_server(iris, msgspec.structs.replace(PLAIN, api_keys=str(file)), told)


def test_beyond_the_own_machine_nobody_loads_without_keys(iris: Path) -> None:
    def told(url: str, address: str) -> None:
        local = url.replace("0.0.0.0", "127.0.0.1")
        refused = ask(local, "POST", "/v2/repository/models/iris/load")
        assert refused.status == 403
        assert "--api-keys" in refused.text  # type: ignore[attr-defined]  # see ask
        assert ask(local, "POST", INFER).status == 200
        with grpc.insecure_channel(address.replace("0.0.0.0", "127.0.0.1")) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            with pytest.raises(grpc.RpcError, match="PERMISSION_DENIED"):
                stub.RepositoryModelUnload(service_pb2.RepositoryModelUnloadRequest(model_name="iris"))

    with_server(iris, msgspec.structs.replace(PLAIN, host="0.0.0.0"), told)
