"""TLS for both ports: certificate and key of the server, and the authority whose clients it takes (mutual TLS)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlserve.errors import InvalidConfig, InvalidInput, UsageError
from mlserve.serving.security.stamps import stamp

if TYPE_CHECKING:
    import grpc


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. With ``authority``, clients without a certificate that it signed are turned away."""

    certificate: Path
    key: Path
    authority: Path | None = None


def tls_files(certificate: str | None, key: str | None, authority: str | None) -> TlsFiles | None:
    """The files asked for, None where no TLS is. Raises UsageError for half of it."""
    if certificate is None and key is None and authority is None:
        return None
    if certificate is None or key is None:
        raise UsageError("TLS needs both a certificate and its key", hint="--tls-cert FILE --tls-key FILE")
    return TlsFiles(Path(certificate), Path(key), None if authority is None else Path(authority))


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """What HTTP connections are wrapped in: TLS 1.2 or newer. Raises InvalidInput, InvalidConfig."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load(context, files)
    if files.authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        # A session that is resumed shows no certificate, so it would outlive the trust in its authority.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    return context


def renew(context: ssl.SSLContext, files: TlsFiles) -> None:
    """Read the files again; connections from now on use them alone. Raises InvalidInput, InvalidConfig."""
    fresh = server_context(files)

    def use(connection: ssl.SSLObject, name: str | None, known: ssl.SSLContext) -> None:
        connection.context = fresh

    # Loaded into ``context`` itself, an authority would come on top of those that it replaces. OpenSSL asks at the
    # start of every handshake, also where the client names no server.
    context.sni_callback = use


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    for path in (files.certificate, files.key, files.authority):
        if path is not None:
            _readable(path)
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except ssl.SSLError as error:
        raise InvalidConfig(
            f"'{files.certificate}' and '{files.key}' are no certificate and its key: {_reason(error)}"
        ) from error
    if files.authority is not None:
        try:
            context.load_verify_locations(files.authority)
        except ssl.SSLError as error:
            raise InvalidConfig(f"'{files.authority}' holds no certificate: {_reason(error)}") from error


def grpc_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """The same for gRPC; the files are read again for connections to come, if they have changed and can be used."""
    import grpc

    server_context(files)  # grpcio says nothing about files that do not go together
    renewal = _Renewal(files)
    return grpc.dynamic_ssl_server_credentials(
        _configuration(files), renewal.try_read, require_client_authentication=files.authority is not None
    )


class _Renewal:
    """What grpcio asks at the start of every connection: whether there are other files now."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamps = _stamps(files)

    def try_read(self) -> grpc.ServerCertificateConfiguration | None:
        """The files as they are now, None where they are the same or cannot be used."""
        stamps = _stamps(self._files)
        if stamps == self._stamps:
            return None
        try:
            server_context(self._files)
            found = _configuration(self._files)
        except (InvalidConfig, InvalidInput, OSError):
            return None  # what was read before goes on
        self._stamps = stamps
        return found


def _configuration(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    import grpc

    pair = files.key.read_bytes(), files.certificate.read_bytes()
    authority = None if files.authority is None else files.authority.read_bytes()
    return grpc.ssl_server_certificate_configuration([pair], root_certificates=authority)


def _stamps(files: TlsFiles) -> list[object]:
    return [stamp(path) for path in (files.certificate, files.key, files.authority) if path is not None]


def _readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise InvalidInput(f"cannot read '{path}': {error.strerror}") from error


def _no_password() -> str:
    # Without it OpenSSL would ask at the terminal.
    raise InvalidConfig("the TLS key is encrypted, and a server has nobody to ask for its password")


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).lower().replace("_", " ")
