"""What the processor is and can do, as far as it decides how fast and how exactly models run."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

MATTERS = (
    *("avx2", "f16c", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "bf16", "sve"),
)

VNNI = ("avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
"""Any of these multiplies INT8 in one step and without saturating on the way."""


@dataclass(frozen=True, slots=True)
class Processor:
    """Its name, and those of its flags that matter here; none where the system does not tell."""

    name: str
    flags: tuple[str, ...]

    @property
    def has_vnni(self) -> bool | None:
        """Whether INT8 gains here; None where nothing is known."""
        return any(flag in VNNI for flag in self.flags) if self.flags else None


def read_processor(source: Path = Path("/proc/cpuinfo")) -> Processor:
    """This machine's, as Linux tells it; elsewhere only the architecture's name."""
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    told = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    flags = set((told.get("flags") or told.get("features") or "").split())
    return Processor(told.get("model name") or platform.machine(), tuple(flag for flag in MATTERS if flag in flags))
