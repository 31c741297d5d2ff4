"""Cores and threads."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlserve.runtime.threads import ThreadPlan, cgroup_quota, plan_for_latency, plan_for_throughput, usable_cores


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        pytest.param("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5, id="v2 at the root"),
        pytest.param("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2.0, id="v2 above"),
        pytest.param("0::/a/b\n", {"cpu.max": "100000 100000"}, 1.0, id="v2 in a namespace"),
        pytest.param("0::/a\n", {"a/cpu.max": "max 100000"}, None, id="v2 without limit"),
        pytest.param(
            "4:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "50000", "cpu/x/cpu.cfs_period_us": "100000"}, 0.5, id="v1"
        ),
        pytest.param(
            "4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None, id="v1 without limit"
        ),
        pytest.param("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "0"}, None, id="nonsense"),
        pytest.param("4:memory:/\nx\n", {}, None, id="no such controller"),
    ],
)
def test_the_quota_is_the_least_of_those_above(
    tmp_path: Path, membership: str, files: dict[str, str], quota: float | None
) -> None:
    (tmp_path / "membership").write_text(membership)

    assert cgroup_quota(tree(tmp_path / "cgroup", files), tmp_path / "membership") == quota


def test_cores_are_the_lesser_of_affinity_and_quota(tmp_path: Path) -> None:
    (tmp_path / "membership").write_text("0::/\n")
    tree(tmp_path, {"cpu.max": "150000 100000"})

    def cores(affinity: int) -> int:
        return usable_cores(affinity=affinity, cgroup_root=tmp_path, proc_cgroup=tmp_path / "membership")

    assert cores(8) == 2
    assert cores(1) == 1


def test_without_a_cgroup_the_affinity_decides(tmp_path: Path) -> None:
    assert usable_cores(affinity=3, cgroup_root=tmp_path, proc_cgroup=tmp_path / "none") == 3
    assert usable_cores() >= 1


@pytest.mark.parametrize(
    ("quota", "lanes"),
    [
        pytest.param("50000", 1, id="half a core"),
        pytest.param("100000", 1, id="one"),
        pytest.param("100001", 2, id="a hair more than one"),
        pytest.param("250000", 3, id="two and a half"),
        pytest.param("300000", 3, id="three"),
        pytest.param("9900000", 8, id="more than there are"),
    ],
)
def test_a_quota_of_part_of_a_core_has_a_lane_for_the_part(tmp_path: Path, quota: str, lanes: int) -> None:
    # Rounded down the part would never be used; rounded up the last lane is throttled for what it takes too much.
    (tmp_path / "membership").write_text("0::/\n")
    tree(tmp_path, {"cpu.max": f"{quota} 100000\n"})

    cores = usable_cores(affinity=8, cgroup_root=tmp_path, proc_cgroup=tmp_path / "membership")

    assert plan_for_throughput(cores) == ThreadPlan(lanes=lanes, threads_per_run=1)


def test_a_worker_of_more_workers_than_cores_still_has_a_lane() -> None:
    assert plan_for_throughput(0) == ThreadPlan(lanes=1, threads_per_run=1)


def test_a_server_has_a_lane_a_core_and_a_command_all_cores_at_once() -> None:
    assert (plan_for_throughput(3).lanes, plan_for_throughput(3).threads_per_run) == (3, 1)
    assert (plan_for_latency(3).lanes, plan_for_latency(3).threads_per_run) == (1, 3)
