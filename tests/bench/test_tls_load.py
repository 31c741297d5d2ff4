"""Load over TLS, against the real front end with a certificate of its own."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mlserve.bench.generators import ServerDriver
from mlserve.bench.messages import post_json
from mlserve.bench.stretches import Stretch
from mlserve.bench.tls_clients import learn_over_tls
from mlserve.errors import Unavailable
from tests.serving.fakes import FakeEngine, doubling
from tests.serving.http.fronts import Front, fronting

HOST = "127.0.0.1"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A key with its own certificate for 127.0.0.1, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "server.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def port(certificate: Path) -> Iterator[int]:
    """A front end over TLS beside one over plain HTTP."""
    engine = FakeEngine()
    engine.add(doubling())
    with fronting(engine) as front:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        yield _listening(front, context)


def _listening(front: Front, context: ssl.SSLContext) -> int:
    async def listen() -> int:
        ((_, port),) = await front.front.listen(HOST, 0, tls=context)
        return port

    return front.on_loop(listen)


def ask(port: int, rows: int) -> bytes:
    tensor = {"name": "x", "shape": [rows, 3], "datatype": "FP32", "data": [0.5] * (3 * rows)}
    return post_json(HOST, port, "/v2/models/fraud/infer", {"inputs": [tensor]})


@pytest.mark.parametrize("rows", [1, 20_000], ids=["one record", "many records"])
def test_a_trusted_server_is_loaded(port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    driver = ServerDriver(HOST, port, learn_over_tls(HOST, port, [ask(port, rows)]), tls=True)

    found = driver.run(Stretch(3, 0.4), lambda: None)

    assert found.failed == 0
    assert found.answered > 0
    assert driver.ceiling(Stretch(3, 0.1)) is None


def test_a_server_that_nobody_vouches_for_is_not_asked(port: int) -> None:
    with pytest.raises(Unavailable, match="nobody answers at"):
        learn_over_tls(HOST, port, [ask(port, 1)])
