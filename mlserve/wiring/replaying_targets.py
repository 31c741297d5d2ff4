"""What a replay is against: versions opened in this process, or one live server; and the version that answered."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlserve.errors import InvalidInput
from mlserve.wiring.remote import is_url
from mlserve.wiring.replaying_asked import Asked

if TYPE_CHECKING:
    from mlserve.replay.answering import Version
    from mlserve.rows.captured import CapturedBatch
    from mlserve.rows.captured_reading import Captured
    from mlserve.wiring.replaying_versions import OpenedVersion


@contextmanager
def opened_target(
    target: str, rows: Any, asked: Asked, flags: Mapping[str, Any], config_file: Path | None
) -> Iterator[OpenedVersion]:
    from mlserve.wiring.replaying_versions import OpenedVersion, opened_version

    if not is_url(target):
        with opened_version(target, rows, flags, config_file) as opened:
            yield opened
        return
    from mlserve.replay.answering import Version
    from mlserve.wiring.remote import RemoteModel, parse_url, read_key

    remote = RemoteModel(parse_url(target), key=read_key(asked.api_key_file))
    try:
        signature, digest = remote.signature(), remote.digest
    finally:
        remote.close()

    def never(_: Any) -> Any:
        raise AssertionError("a server is asked over its wire")

    yield OpenedVersion(Version(target, digest, signature, never, None), is_registered=False, is_inline=False)


@contextmanager
def server_wire(asked: Asked, version: Version) -> Iterator[Any]:
    from mlserve.wiring.remote import RemoteModel, parse_url, read_key
    from mlserve.wiring.replaying_http import CONNECTIONS, HttpWire

    key = read_key(asked.api_key_file)
    address = parse_url(asked.against[0])
    remote = RemoteModel(address, key=key)
    try:
        wire = HttpWire(
            remote,
            address.base,
            version.signature,
            key=key,
            clock=time.monotonic,
            connections=asked.connections or CONNECTIONS,
        )
    finally:
        remote.close()
    try:
        yield wire
    finally:
        wire.close()


def check_fit(versions: Sequence[Version], first: CapturedBatch) -> None:
    """Raises InvalidInput where what was captured cannot be asked of one of ``versions``."""
    from mlserve.replay.answering import misfits

    for version in versions:
        problems = misfits(version.signature, first)
        if problems:
            raise InvalidInput(f"{version.ref} does not take what was captured: {'; '.join(problems)}")


def recorded_again(
    captured: Captured,
    rows: Any,
    versions: Sequence[OpenedVersion],
    stack: ExitStack,
    flags: Mapping[str, Any],
    config_file: Path | None,
) -> Version | None:
    """The version that answered, for the noise floor, where it is a candidate itself or the registry has it."""
    from mlserve.wiring.replaying_versions import opened_version, recorded_version

    digests = set(captured.versions.values())
    same = next((one.version for one in versions if {one.version.digest} == digests), None)
    if same is not None:
        return same
    ref = recorded_version(captured.model, captured.versions, flags, config_file)
    if ref is None:
        return None
    return stack.enter_context(opened_version(ref, rows, flags, config_file)).version
