"""A replay that was interrupted, on disk: which one it was, how far it had come, and all that it had found.

Written whole or not at all, beside the report or in the project's home, so that neither Ctrl-C nor ``kill -9`` costs
more than the last seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlserve.compare.ladder.packing import pack, unpack
from mlserve.compare.pairs import State
from mlserve.core.digests import canonical_json, digest_bytes
from mlserve.core.files import replacing
from mlserve.errors import Conflict, InvalidInput, NotFound
from mlserve.replay.findings import Learner
from mlserve.replay.found import Found
from mlserve.rows.captured_reading import Listed

SCHEMA = 1
EVERY_S = 5.0
"""A replay that is killed loses what it did in so many seconds."""

Identity = Mapping[str, Any]
"""What makes two replays the same: the capture, the digests, and every option that the figures depend on."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """``listed`` are the files of the capture as they were when it began."""

    identity: Identity
    listed: Sequence[Listed]
    found: Mapping[str, Any]

    def restored(self, comparison: Callable[[State], Learner]) -> Found:
        return Found.restored(self.found, comparison)


def path_in(folder: Path, identity: Identity) -> Path:
    """Where the checkpoint of such a replay lies in ``folder``."""
    return folder / f"replay-{digest_bytes(canonical_json(identity)).removeprefix('sha256:')[:16]}.checkpoint"


def write_checkpoint(path: Path, identity: Identity, listed: Sequence[Listed], found: Found) -> None:
    """Have it on disk. Raises InvalidInput where that cannot be."""
    content = {
        "schema": SCHEMA,
        "identity": dict(identity),
        "listed": [asdict(one) for one in listed],
        "found": found.state(),
    }
    with replacing(path) as partial:
        partial.write_bytes(pack(content))


def read_checkpoint(path: Path, identity: Identity) -> Checkpoint:
    """The checkpoint at ``path``, which must be of a replay of ``identity``.

    Raises NotFound where there is none, Conflict for one of another replay, InvalidInput for what is none.
    """
    try:
        content = unpack(path.read_bytes())
        schema, known = content["schema"], content["identity"]
        listed = [Listed(str(one["name"]), int(one["size_bytes"])) for one in content["listed"]]
        found = content["found"]
    except FileNotFoundError as error:
        raise NotFound(
            "no replay of this kind was interrupted here", hint="the same command without --resume"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, InvalidInput) as error:
        raise InvalidInput(f"'{path}' is no checkpoint of a replay", hint="begin again, without --resume") from error
    if schema != SCHEMA:
        raise InvalidInput(f"'{path}' was left by another mlserve", hint="begin again, without --resume")
    for name in sorted({*identity, *known}):
        if identity.get(name) != known.get(name):
            raise Conflict(
                f"the replay to go on with had {name} {known.get(name)!r}, and this one has {identity.get(name)!r}",
                hint="the same command again, or begin anew without --resume",
            )
    return Checkpoint(known, listed, found)


class Pauses:
    """Writes a checkpoint every ``every_s`` seconds of ``clock``, and when it is told to."""

    def __init__(
        self,
        path: Path,
        identity: Identity,
        listed: Sequence[Listed],
        clock: Callable[[], float],
        every_s: float = EVERY_S,
    ) -> None:
        self.path = path
        self._identity = identity
        self._listed = listed
        self._clock = clock
        self._every_s = every_s
        self._written_s = clock()
        self.requests: int | None = None

    def __call__(self, found: Found) -> None:
        if self._clock() - self._written_s >= self._every_s:
            self.write(found)

    def write(self, found: Found) -> None:
        write_checkpoint(self.path, self._identity, self._listed, found)
        self.requests = found.coverage.requests
        self._written_s = self._clock()

    def done(self) -> None:
        """There is nothing to go on with any more."""
        self.path.unlink(missing_ok=True)
