"""Profiles: kept as evidence, read again, and used on the kind of machine that they were measured on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlserve.core.evidence import Evidence
from mlserve.errors import InvalidInput
from mlserve.runtime.machine import machine_here
from mlserve.runtime.processor import cpu_flags, processor_name
from mlserve.runtime.providers import CPU
from mlserve.runtime.tuned import Machine, Setting, TunedProfile, profile_for, profiles_in, read_profile

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HERE = Machine("AMD EPYC 9B14", 4, CPU, "1.31.1")
PROFILE = TunedProfile(HERE, Setting(2, 2, 16, 1.5), True, NOON)
CPUINFO = "processor\t: 0\nmodel name\t: AMD EPYC 9B14\nflags\t\t: fpu avx2 avx512f avx512_vnni\n\nprocessor\t: 1\n"


def test_a_profile_is_read_as_it_was_written() -> None:
    assert read_profile(PROFILE.to_dict(), NOON) == PROFILE


def test_the_newest_of_a_machine_counts_and_others_do_not() -> None:
    older = replace(PROFILE, setting=Setting(4, 1, 8), measured_at=NOON - timedelta(hours=1))
    others = [
        replace(PROFILE, machine=replace(HERE, **{name: value}), measured_at=NOON + timedelta(hours=1))
        for name, value in {"cpu": "another", "cores": 8, "provider": "CUDA", "onnxruntime": "1.32.0"}.items()
    ]

    assert profile_for(HERE, [older, PROFILE, *others]) == PROFILE
    assert profile_for(HERE, others) is None


def test_a_later_finding_that_nothing_beats_the_default_takes_a_profile_back() -> None:
    later = replace(PROFILE, is_better=False, measured_at=NOON + timedelta(hours=1))

    assert profile_for(HERE, [PROFILE, later]) is None


def test_only_what_was_measured_here_and_can_be_read_is_a_profile() -> None:
    def evidence(figures: dict[str, Any], kind: str = "tune", **more: Any) -> Evidence:
        return Evidence(kind, "d", None, figures, NOON, "ann", **more)

    figures = PROFILE.to_dict()
    found = profiles_in(
        [
            evidence(figures),
            evidence(figures, origin="imported"),
            evidence(figures, kind="bench"),
            evidence(figures | {"schema": 2}),
            evidence({"schema": 1}),
        ]
    )

    assert found == [PROFILE]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"lanes": 0}, id="no lane"),
        pytest.param({"max_batch": "many"}, id="no number"),
        pytest.param({"machine": None}, id="no machine"),
        pytest.param({"max_delay_ms": "NaN"}, id="no delay"),
    ],
)
def test_what_is_no_profile_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        read_profile(PROFILE.to_dict() | changes, NOON)


def test_a_machine_is_known_by_its_processor(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(CPUINFO)

    assert processor_name(file) == "AMD EPYC 9B14"
    assert cpu_flags(file) == {"fpu", "avx2", "avx512f", "avx512_vnni"}
    assert cpu_flags(tmp_path / "none") is None
    assert processor_name(tmp_path / "none") != ""
    assert machine_here(CPU, 3).cores == 3
