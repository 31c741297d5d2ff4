"""The machine's own figures, under Triton's names: how busy its processors are, and its memory. Linux only.

Source of the files: proc(5).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlserve.serving.metrics.families import Family, Point

_KIB = 1024
_IDLE = (3, 4)
"""Where ``/proc/stat`` has time that processors were idle, or idle waiting for a disk."""


@dataclass(slots=True)
class Host:
    """Reads ``proc`` when asked; utilization is that since it was last asked, 0 the first time."""

    proc: Path = Path("/proc")
    _busy: int = 0
    _whole: int = 0

    def families(self) -> list[Family]:
        """Nothing where there is no such folder. Each process says the same of the machine."""
        try:
            memory, ticks = self._memory_bytes(), self._ticks()
        except (OSError, ValueError, KeyError, IndexError):
            return []
        total = memory["MemTotal"]
        return [
            _family("nv_cpu_utilization", "Share of the processors' time that was used.", self._utilization(*ticks)),
            _family("nv_cpu_memory_total_bytes", "The machine's memory.", total),
            _family("nv_cpu_memory_used_bytes", "Memory in use on the machine.", total - memory["MemAvailable"]),
        ]

    def _memory_bytes(self) -> dict[str, int]:
        lines = (self.proc / "meminfo").read_text(encoding="ascii").splitlines()
        pairs = (line.split(":", 1) for line in lines)
        return {name: int(value.split()[0]) * _KIB for name, value in pairs}

    def _ticks(self) -> tuple[int, int]:
        first = (self.proc / "stat").read_text(encoding="ascii").splitlines()[0].split()
        if first[0] != "cpu":
            raise ValueError(first[0])
        # What guests used is counted in user time already.
        ticks = [int(word) for word in first[1:9]]
        whole = sum(ticks)
        return whole - sum(ticks[place] for place in _IDLE), whole

    def _utilization(self, busy: int, whole: int) -> float:
        before, self._busy = self._busy, busy
        whole_before, self._whole = self._whole, whole
        passed = whole - whole_before
        if not whole_before or passed <= 0:
            return 0.0
        return min(1.0, max(0.0, (busy - before) / passed))


def _family(name: str, text: str, value: float) -> Family:
    return Family(name, "info", text, [Point((), float(value))])
