"""This machine, as far as figures of speed depend on it."""

from __future__ import annotations

import platform
from pathlib import Path

from mlserve.runtime.tuned import Machine

CPUINFO = Path("/proc/cpuinfo")


def machine_here(provider: str, cores: int) -> Machine:
    """This machine, for a process that may use ``cores`` of it and runs models on ``provider``."""
    import onnxruntime  # the rest is for doctor too, where it may be broken

    return Machine(processor_name(), cores, provider, onnxruntime.__version__)


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
