"""The machine's figures, from files as Linux writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlserve.serving.metrics.host import Host

MEMINFO = "MemTotal:        1000 kB\nMemFree:          100 kB\nMemAvailable:     400 kB\nHugePages_Total:       0\n"


def write(proc: Path, *ticks: int) -> None:
    (proc / "meminfo").write_text(MEMINFO, encoding="ascii")
    (proc / "stat").write_text(f"cpu  {' '.join(map(str, ticks))}\ncpu0 1 2 3\n", encoding="ascii")


def found(host: Host) -> dict[str, float]:
    return {family.name: family.points[0].value for family in host.families()}


def test_memory_and_the_share_of_time_used_since_the_last_look_are_told(tmp_path: Path) -> None:
    host = Host(tmp_path)
    write(tmp_path, 100, 0, 100, 700, 100, 0, 0, 0, 50, 0)
    first = found(host)
    write(tmp_path, 160, 10, 130, 780, 120, 0, 0, 0, 90, 0)

    second = found(host)

    assert first == {
        "nv_cpu_utilization": 0.0,
        "nv_cpu_memory_total_bytes": 1000 * 1024,
        "nv_cpu_memory_used_bytes": 600 * 1024,
    }
    assert second["nv_cpu_utilization"] == pytest.approx(0.5)


@pytest.mark.parametrize("stat", ["", "intr 1 2 3", "cpu x y"])
def test_what_cannot_be_read_is_left_out(tmp_path: Path, stat: str) -> None:
    assert Host(tmp_path / "none").families() == []
    write(tmp_path, 1)
    (tmp_path / "stat").write_text(stat, encoding="ascii")

    assert Host(tmp_path).families() == []
