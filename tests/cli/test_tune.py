"""tune: what it answers and keeps, and that serve runs a version as it was tuned on such a machine."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from mlserve.core.evidence import Evidence
from mlserve.core.refs import parse_ref
from mlserve.registry.evidencing import add_evidence
from mlserve.registry.versions import get_version
from mlserve.runtime.machine import machine_here
from mlserve.runtime.providers import CPU
from mlserve.runtime.threads import usable_cores
from mlserve.runtime.tuned import Setting, TunedProfile
from mlserve.wiring.calling import CallDriver
from mlserve.wiring.connecting import connect, now
from mlserve.wiring.targeting import Asked, opened
from tests.cli.conftest import Run
from tests.models import fixed_shape, saved
from tests.processes import MLSERVE, serving

FIGURES = {"rows_per_s", "p50_ms", "p99_ms", "rows_per_s_interval", "p50_ms_interval", "p99_ms_interval"}


def properties(url: str, name: str = "fraud") -> Mapping[str, str]:
    with urlopen(f"{url}/v2/models/{name}") as reply:
        found: dict[str, str] = json.load(reply)["properties"]
    return found


def tuned(ref: str, *, cpu: str | None = None) -> None:
    """Keep a profile of ``ref``, as if ``tune`` had found it on this machine, or on one of another processor."""
    machine = machine_here(CPU, usable_cores())
    profile = TunedProfile(replace(machine, cpu=cpu or machine.cpu), Setting(1, 2, 5, 0.5), True, now())
    with connect() as app:
        digest = get_version(app.store, parse_ref(ref)).digest
        add_evidence(app.store, Evidence("tune", digest, None, profile.to_dict(), profile.measured_at, "ann"))


def test_a_version_is_tuned_and_the_profile_is_kept_with_it(run: Run, fraud: Path) -> None:
    done = run("tune", "fraud:1", "--budget", "3s", "--clients", "8", "--json")

    document = done.document
    profile, before, after = document["profile"], document["before"], document["after"]
    assert done.code == 0
    assert profile["schema"] == 1
    assert profile["machine"]["cores"] == usable_cores()
    assert min(profile["lanes"], profile["threads"], profile["max_batch"]) >= 1
    for figures in (before, after):
        assert figures.keys() >= FIGURES
        assert figures["errors"] == 0
        assert 0 < figures["p50_ms"] <= figures["p99_ms"]
        assert figures["rows_per_s"] > 0
    assert document["better"] or (before == after and profile["max_batch"] == before["max_batch"])
    (kept,) = (one for one in run("show", "fraud:1", "--json").document["evidence"] if one["kind"] == "tune")
    assert profile.items() <= kept["figures"].items()
    assert kept["tools"]["machine"].startswith(profile["machine"]["cpu"])


def test_people_are_told_whether_anything_beats_the_default(run: Run, fraud: Path) -> None:
    done = run("tune", "fraud:1", "--budget", "0.1s", "--clients", "2")

    assert "fraud:1: no setting beats the default (" in done.out
    assert "ROWS PER S" in done.out
    assert run("tune", "fraud:1", "--budget", "0.1s", "--clients", "2", "--quiet").out == "fraud:1\n"
    assert "the default, which nothing beat" in run("show", "fraud:1").out


def test_with_an_objective_the_load_is_one_that_the_default_can_keep(run: Run, fraud: Path) -> None:
    document = run("tune", "fraud:1", "--budget", "2s", "--slo", "p50=10s", "--json").document
    tight = run("tune", "fraud:1", "--budget", "0.5s", "--slo", "p99=1us", "--json")

    assert (document["clients"], document["slo"], document["before"]["slo_met"]) == (256, "p50=10s", True)
    assert (tight.document["clients"], tight.document["before"]["slo_met"]) == (1, False)
    assert "p99=1us was missed with 1 client:" in tight.err


def test_a_file_is_tuned_and_nothing_is_kept(run: Run, clean_environment: Path, rows: Path) -> None:
    lone = saved(fixed_shape(), clean_environment / "lone.onnx")

    document = run("tune", lone, "--budget", "1s", "--clients", "4", "--json").document
    said = run("tune", lone, "--budget", "0.1s", "--clients", "1").out

    assert (document["recorded"], document["digest"]) == (False, None)
    assert (document["profile"]["max_batch"], document["tried"]) == (1, [])
    assert "there is nothing to choose" in said


def test_settings_that_win_over_a_profile_are_not_tuned_away(run: Run, fraud: Path, rows: Path) -> None:
    (fraud / "mlserve.toml").write_text("[serve]\nmax_batch = 3\n")

    done = run("tune", "fraud:1", "--budget", "1s", "--input", rows, "--rows", "2", "--json")

    document = done.document
    assert "serve.max_batch is set here" in done.err
    assert document["before"]["max_batch"] != 3
    assert document["rows"] == 2
    assert document["data_digest"].startswith("sha256:")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(["fraud:1", "--budget", "soon"], 2, "--budget 'soon' is not a time", id="no budget"),
        pytest.param(["fraud:1", "--slo", "fast"], 2, "not a percentile and a time", id="no objective"),
        pytest.param(["fraud:9"], 4, "no version 9", id="no version"),
        pytest.param(["none.onnx"], 4, "none.onnx", id="no file"),
    ],
)
def test_what_cannot_be_tuned_is_said(run: Run, fraud: Path, words: list[str], code: int, said: str) -> None:
    done = run("tune", *words, "--json")

    assert done.error["code"] == code
    assert said in done.error["message"]


def test_ctrl_c_ends_it_with_130_and_keeps_nothing(run: Run, fraud: Path) -> None:
    words = [*MLSERVE, "tune", "fraud:1", "--budget", "60s"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.readline()  # the first step has begun
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert "tune" not in {one["kind"] for one in run("show", "fraud:1", "--json").document["evidence"]}


def test_serve_runs_a_version_as_it_was_tuned_on_such_a_machine_and_says_so(run: Run, fraud: Path) -> None:
    tuned("fraud:1")
    assert run("promote", "fraud:1", "--to", "production").code == 0

    with serving(MLSERVE, fraud, "fraud", "--device", "cpu") as url:
        found = properties(url)["tuned"]
        with urlopen(f"{url}/v2/models/fraud/config") as reply:
            config: dict[str, Any] = json.load(reply)

    assert found.startswith("lanes 1, threads 2, max_batch 5, max_delay_ms 0.5 (measured 20")
    assert config["max_batch_size"] == 5
    assert "lanes 1, threads 2" in run("show", "fraud:1").out


def test_what_was_tuned_on_another_machine_is_not_used_and_flags_win(run: Run, fraud: Path) -> None:
    tuned("fraud:1", cpu="another")
    tuned("fraud:2")
    for ref, stage in (("fraud:1", "production"), ("fraud:2", "challenger")):
        assert run("promote", ref, "--to", stage).code == 0

    with serving(MLSERVE, fraud, "fraud", "--device", "cpu", "--max-batch", "7", "--lanes", "2") as url:
        production = properties(url)
        challenger = properties(url, "fraud/versions/2")

    assert "tuned" not in production
    assert challenger["tuned"].startswith("max_delay_ms 0.5 (measured")


def test_bench_runs_a_version_as_serve_does(run: Run, fraud: Path) -> None:
    tuned("fraud:1")

    with opened("fraud:1", Asked(), 1, {}, None) as target:
        assert isinstance(target.driver, CallDriver)
        assert target.driver.loaded.view.tuned.startswith("lanes 1, threads 2, max_batch 5")
