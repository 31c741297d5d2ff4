"""How many cores this process really has, and how a session and its lanes share them.

Containers give a quota, not a number of cores; a runtime that asks the machine instead starts 96 threads on a quota of
two and is throttled. A lane is a thread that calls ``run``; more callers with one thread each give more rows a second
than one caller with all of them, and a lone caller with all of them has the least latency.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")
PROC_CGROUP = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class ThreadPlan:
    """``lanes`` callers at a time, each run using ``threads_per_run`` threads."""

    lanes: int
    threads_per_run: int


def plan_for_throughput(cores: int) -> ThreadPlan:
    """Every core a lane of one thread: for a server on CPU.

    >>> plan_for_throughput(4)
    ThreadPlan(lanes=4, threads_per_run=1)
    """
    return ThreadPlan(lanes=max(1, cores), threads_per_run=1)


def plan_for_latency(cores: int) -> ThreadPlan:
    """One caller with all cores: for one file after another, such as ``predict`` and parity checks."""
    return ThreadPlan(lanes=1, threads_per_run=max(1, cores))


def plan_of(cores: int, lanes: int | None, threads: int | None) -> ThreadPlan:
    """The plan for a server in which ``lanes``, ``threads``, both or neither were asked for.

    >>> plan_of(4, None, 2), plan_of(4, 3, None)
    (ThreadPlan(lanes=2, threads_per_run=2), ThreadPlan(lanes=3, threads_per_run=1))
    """
    threads = threads or 1
    return ThreadPlan(lanes or max(1, cores // threads), threads)


def usable_cores(
    *, affinity: int | None = None, cgroup_root: Path = CGROUP_ROOT, proc_cgroup: Path = PROC_CGROUP
) -> int:
    """The cores this process may use at once: its affinity, or its cgroup's quota rounded up where that is less."""
    allowed = affinity if affinity is not None else _affinity()
    quota = cgroup_quota(cgroup_root, proc_cgroup)
    if quota is None:
        return max(1, allowed)
    return max(1, min(allowed, int(-(-quota // 1))))


def cgroup_quota(cgroup_root: Path, proc_cgroup: Path) -> float | None:
    """The cores' worth of time that the cgroup, or any above it, grants; None where nothing limits it.

    Reads ``cpu.max`` (v2) and ``cpu.cfs_quota_us`` (v1). Source: kernel docs, admin-guide/cgroup-v2 and
    scheduler/sched-bwc.
    """
    quotas = []
    for controllers, path in _memberships(proc_cgroup):
        if controllers == "":
            quotas += [_quota_v2(folder) for folder in _upwards(cgroup_root, path)]
        elif "cpu" in controllers.split(","):
            for mount in ("cpu", "cpu,cpuacct"):
                quotas += [_quota_v1(folder) for folder in _upwards(cgroup_root / mount, path)]
    known = [quota for quota in quotas if quota is not None]
    return min(known) if known else None


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memberships(proc_cgroup: Path) -> list[tuple[str, str]]:
    try:
        lines = proc_cgroup.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    fields = [line.split(":", 2) for line in lines]
    return [(field[1], field[2].lstrip("/")) for field in fields if len(field) == 3]


def _upwards(root: Path, path: str) -> list[Path]:
    """``root/path`` and every folder above it down to ``root``, which alone exists inside a container's namespace."""
    parts = [part for part in path.split("/") if part not in ("", "..")]
    return [root.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]


def _quota_v2(folder: Path) -> float | None:
    words = _read(folder / "cpu.max").split()
    if len(words) != 2 or words[0] == "max":
        return None
    return _ratio(words[0], words[1])


def _quota_v1(folder: Path) -> float | None:
    return _ratio(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
