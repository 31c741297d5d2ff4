"""What decides how a version is loaded: the user, then its profile, then the default."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlserve.core.settings import ServeSettings
from mlserve.runtime.machine import machine_here
from mlserve.runtime.providers import CPU
from mlserve.runtime.threads import ThreadPlan
from mlserve.runtime.tuned import Setting, TunedProfile
from mlserve.serving.loaded import Loaded
from mlserve.serving.loading import Fetched, Wanted, load_version
from mlserve.serving.options import options_of, with_profile
from tests import models

CORES = 4
PROFILE = TunedProfile(
    machine_here(CPU, CORES), Setting(1, 2, 5, max_delay_ms=3.0), True, datetime(2026, 3, 1, tzinfo=UTC)
)
QUICK = ServeSettings(device="cpu", warmup_s=2.0)


def load(
    tmp_path: Path, settings: ServeSettings = QUICK, profile: TunedProfile = PROFILE, cores: int = CORES
) -> Loaded:
    path = models.saved(models.classifier(), tmp_path / "model.onnx")
    one = Wanted("m", 1, ("production",), "d", lambda: Fetched(path, profiles=[profile]))
    return load_version(one, options_of(settings, cores))


def test_a_version_runs_as_it_was_tuned_here_and_says_so(tmp_path: Path) -> None:
    loaded = load(tmp_path)

    assert (loaded.lanes, loaded.max_rows, loaded.max_delay_s) == (1, 5, 0.003)
    assert loaded.certificate.threads == 2
    assert loaded.view.tuned == "lanes 1, threads 2, max_batch 5, max_delay_ms 3 (measured 2026-03-01)"


@pytest.mark.parametrize(
    ("profile", "cores"),
    [
        pytest.param(PROFILE, 2, id="fewer cores"),
        pytest.param(replace(PROFILE, machine=replace(PROFILE.machine, cpu="another")), CORES, id="another processor"),
        pytest.param(replace(PROFILE, is_better=False), CORES, id="no better than the default"),
    ],
)
def test_a_profile_that_does_not_hold_here_is_not_used(tmp_path: Path, profile: TunedProfile, cores: int) -> None:
    loaded = load(tmp_path, profile=profile, cores=cores)

    assert (loaded.lanes, loaded.max_delay_s, loaded.view.tuned) == (None, None, "")
    assert loaded.max_rows != 5


def test_tuning_can_be_switched_off(tmp_path: Path) -> None:
    assert load(tmp_path, ServeSettings(device="cpu", warmup_s=2.0, tuned="off")).view.tuned == ""


@pytest.mark.parametrize(
    ("said", "lanes", "threads", "max_batch", "max_delay_s", "tuned"),
    [
        pytest.param({"max_batch": 7}, 1, 2, 7, 0.003, "lanes 1, threads 2, max_delay_ms 3", id="batch"),
        pytest.param({"max_delay_ms": 0}, 1, 2, 5, None, "lanes 1, threads 2, max_batch 5", id="delay"),
        pytest.param({"lanes": 3}, None, 1, 5, 0.003, "max_batch 5, max_delay_ms 3", id="lanes"),
        pytest.param({"threads": 4}, None, 4, 5, 0.003, "max_batch 5, max_delay_ms 3", id="threads"),
        pytest.param({"threads": 1, "max_batch": 7, "max_delay_ms": 1}, None, 1, 7, None, "", id="all"),
    ],
)
def test_what_the_user_says_wins(
    said: dict[str, int], lanes: int | None, threads: int, max_batch: int, max_delay_s: float | None, tuned: str
) -> None:
    options = with_profile(options_of(ServeSettings(**said), CORES), PROFILE)

    assert (options.lanes, options.threads.threads_per_run) == (lanes, threads)
    assert (options.max_batch, options.max_delay_s) == (max_batch, max_delay_s)
    assert options.tuned.removesuffix(" (measured 2026-03-01)") == tuned


def test_lanes_and_threads_fill_the_cores_unless_said_otherwise() -> None:
    plans = [options_of(settings, 8).threads for settings in (ServeSettings(), ServeSettings(threads=4))]

    assert plans == [ThreadPlan(8, 1), ThreadPlan(2, 4)]
