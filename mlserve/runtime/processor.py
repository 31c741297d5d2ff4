"""What the processor is and can do, as far as it decides how fast and how exactly models run."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

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


def read_processor(cpuinfo: Path = CPUINFO) -> Processor:
    """This machine's, as Linux tells it; elsewhere only the architecture's name."""
    flags = cpu_flags(cpuinfo) or frozenset()
    return Processor(processor_name(cpuinfo), tuple(flag for flag in MATTERS if flag in flags))


def processor_name(cpuinfo: Path = CPUINFO) -> str:
    """The processor's model, such as "AMD EPYC 9B14"; its architecture where nothing says more."""
    return _field(cpuinfo, "model name") or platform.machine()


def cpu_flags(cpuinfo: Path = CPUINFO) -> frozenset[str] | None:
    """What the processor can do, by Linux's names such as ``avx512_vnni``; None where nothing says.

    ARM's are called ``Features``.
    """
    flags = _field(cpuinfo, "flags") or _field(cpuinfo, "Features")
    return None if flags is None else frozenset(flags.split())


def _field(cpuinfo: Path, name: str) -> str | None:
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() == name), None)
