"""What a server says to the process of a shadow, and hears from it: frames of MessagePack over pipes, as

→ {"ask": "open", …}             ← {"event": "opened"}            or {"event": "error", …}, see ``core.telling``
→ {"ask": "tell"}                ← {"event": "told", "told": …}
→ {"ask": "document"}            ← {"event": "document", "document": …}
→ {"ask": "end", "within_s": …}  ← {"event": "document", …}, "told" with it: the last, when the ring is empty
                                       or time is up
"""

from __future__ import annotations

from typing import Any

import msgspec

from mlserve.core.histograms import SECONDS, Histogram


class Opening(msgspec.Struct, kw_only=True):
    """A shadow's job: the version, the champion whose answers it is compared with, and where everything is.

    ``ring`` is a descriptor that the process inherits; ``state`` the file that keeps what was learned, and
    ``siblings`` a pattern beside it for those of the other workers. ``serve`` are the server's settings.
    """

    name: str
    version: int
    digest: str
    generation: int
    since: str
    traffic: float
    champion: int
    champion_digest: str | None
    champion_precision: str = "fp32"
    path: str
    certificate: dict[str, Any] | None
    ring: int
    folder: str
    state: str
    siblings: str
    is_folder_ours: bool
    serve: dict[str, Any]

    @property
    def ref(self) -> str:
        return f"{self.name}:{self.version}"

    @property
    def baseline(self) -> str:
        return f"{self.name}:{self.champion}"


class Told(msgspec.Struct, kw_only=True):
    """The counts of one shadow in one process, since production and shadow are the two that they are.

    ``mirrored`` requests of production were chosen: ``dropped`` had no room, ``in_ring`` wait, the others were compared
    or failed. Of rows, ``identical`` are bit-equal in every output, ``within_tolerance`` in some tolerance; those that
    ``differ`` are in none. Latencies are of runs, in seconds; ``cpu`` is the shadow's by the processor's time.
    """

    mirrored: int = 0
    dropped: int = 0
    in_ring: int = 0
    compared: int = 0
    failed: int = 0
    rows: int = 0
    identical: int = 0
    within_tolerance: int = 0
    champion: Histogram = msgspec.field(default_factory=lambda: Histogram.over(SECONDS))
    shadow: Histogram = msgspec.field(default_factory=lambda: Histogram.over(SECONDS))
    cpu: Histogram = msgspec.field(default_factory=lambda: Histogram.over(SECONDS))

    @property
    def differing(self) -> int:
        return self.rows - self.within_tolerance

    def merged(self, other: Told) -> Told:
        """The counts of both."""
        whole = Told(
            champion=self.champion.merged(other.champion),
            shadow=self.shadow.merged(other.shadow),
            cpu=self.cpu.merged(other.cpu),
        )
        for name in COUNTS:
            setattr(whole, name, getattr(self, name) + getattr(other, name))
        return whole


COUNTS = (
    "mirrored",
    "dropped",
    "in_ring",
    "compared",
    "failed",
    "rows",
    "identical",
    "within_tolerance",
)  # fmt: skip
