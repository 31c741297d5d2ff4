"""Signatures of webhooks as Standard Webhooks has them, so that any of its libraries can verify ours.

webhook-id: msg_…    webhook-timestamp: seconds since 1970    webhook-signature: v1,BASE64 of HMAC-SHA-256
over ID.TIMESTAMP.BODY, one for each secret, separated by blanks, so that a secret can be replaced without a gap.
Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path

from mlserve.errors import InvalidConfig

PREFIX = "whsec_"
FEWEST_BYTES = 24


def read_secrets(path: Path) -> list[bytes]:
    """The secrets of a file, one a line, in base64 with or without ``whsec_`` before it. Raises InvalidConfig."""
    try:
        lines = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"cannot read the webhooks' secret '{path}'", hint="drift.webhook_secret_file") from error
    secrets = [_secret(line, path) for line in lines]
    if not secrets or min(map(len, secrets)) < FEWEST_BYTES:
        raise InvalidConfig(
            f"'{path}' holds no secret of {FEWEST_BYTES} bytes", hint=f"openssl rand -base64 32 > '{path}'"
        )
    return secrets


def signed_headers(secrets: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The headers that prove ``body`` to whoever has one of ``secrets``.

    >>> key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    >>> body = b'{"test": 2432232314}'
    >>> signed_headers([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)["webhook-signature"]
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode() for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _secret(line: str, path: Path) -> bytes:
    try:
        return base64.b64decode(line.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise InvalidConfig(
            f"a secret of '{path}' is not base64", hint=f"openssl rand -base64 32 > '{path}'"
        ) from error
