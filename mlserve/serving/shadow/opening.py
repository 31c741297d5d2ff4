"""What the process of a shadow is told when it starts: which version, beside which, and where everything lies."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec

from mlserve.core.digests import canonical_json, digest_bytes
from mlserve.core.settings import ServeSettings
from mlserve.serving.loading import Fetched
from mlserve.serving.shadow.messages import Opening
from mlserve.serving.shadow.standing import Pair


def opening_of(
    pair: Pair,
    fetched: Fetched,
    *,
    since: str,
    traffic: float,
    champion_precision: str,
    ring: int,
    folder: Path,
    is_folder_ours: bool,
    settings: ServeSettings,
) -> Opening:
    """The opening for ``pair``. ``ring`` is a descriptor; ``folder`` holds what is learned, by a name of this start.

    Files of other starts, and of other workers, of the same pair are its siblings: together they are one comparison.
    """
    name = digest_bytes(canonical_json([pair.name, pair.version, pair.generation, pair.champion]))[-16:]
    return Opening(
        name=pair.name,
        version=pair.version,
        digest=pair.digest,
        generation=pair.generation,
        since=since,
        traffic=traffic,
        champion=pair.champion,
        champion_digest=pair.champion_digest,
        champion_precision=champion_precision,
        path=str(fetched.path),
        certificate=None if fetched.certificate is None else fetched.certificate.to_dict(),
        ring=ring,
        folder=str(folder),
        state=str(folder / f"{name}.{os.getpid()}-{secrets.token_hex(4)}.shadow"),
        siblings=str(folder / f"{name}.*.shadow"),
        is_folder_ours=is_folder_ours,
        serve=msgspec.to_builtins(settings),
    )
