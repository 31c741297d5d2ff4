"""Traffic that a real server captured goes through other versions, and is compared with what was answered."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from mlserve.replay.checkpoint import write_checkpoint
from mlserve.rows.capture_file import files_of
from mlserve.traffic.compacting import compact
from tests import models
from tests.cli.conftest import Run
from tests.processes import MLSERVE, listening
from tests.replay.making import answered_by, found, loaded
from tests.traffic.making import captured, recorded

REQUESTS = 200


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A model, and the capture of a server of it that eight clients asked, two hundred times."""
    folder = tmp_path_factory.mktemp("served")
    model = models.saved(models.labelled_classifier(), folder / "m.onnx")
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(1 + number % 5, 4)).astype(np.float32) for number in range(REQUESTS)]
    with listening(MLSERVE, folder, str(model), "--grpc-port", "off", "--capture", "capture") as ready:

        def ask(x: np.ndarray[Any, Any]) -> None:
            tensor = {"name": "x", "datatype": "FP32", "shape": list(x.shape), "data": x.ravel().tolist()}
            body = json.dumps({"inputs": [tensor]}).encode()
            with urlopen(Request(f"{ready['http']}/v2/models/m/infer", body), timeout=30) as reply:
                reply.read()

        with ThreadPoolExecutor(8) as clients:
            list(clients.map(ask, rows))
    return model, folder / "capture" / "m"


def test_the_recorded_version_answers_bit_for_bit_as_it_did(served: tuple[Path, Path], run: Run) -> None:
    model, capture = served

    done = run("replay", capture, "--against", model, "--json")

    document = done.document
    assert done.code == 0
    assert (document["requests"], document["rows"]) == (REQUESTS, 3 * REQUESTS)
    assert document["identical"] == document["within_tolerance"] == document["rows"]
    assert document["agreement"] == 1.0
    assert document["batches"] == "recorded"
    assert document["coverage"]["runs"] == document["coverage"]["whole_runs"] > 0
    assert document["latency"]["p99_ms"] > 0
    assert document["passed"] is True


@pytest.mark.parametrize("speed", ["max", "4x"])
def test_a_live_server_is_replayed_to_and_each_reply_matched(
    served: tuple[Path, Path], run: Run, tmp_path: Path, speed: str
) -> None:
    model, capture = served
    with listening(MLSERVE, tmp_path, str(model), "--grpc-port", "off") as ready:
        url = f"{ready['http']}/v2/models/m"

        document = run("replay", capture, "--url", url, "--speed", speed, "--json").document

    assert document["rows"] == document["within_tolerance"] == 3 * REQUESTS
    assert document["agreement"] == 1.0
    assert (document["target"], document["batches"]) == (url, "fresh")
    assert document["latency"]["measures"] == "round trip"
    assert (document["lag"] is None) == (speed == "max")


def test_at_its_own_speed_what_is_due_is_sent_then(served: tuple[Path, Path], run: Run) -> None:
    model, capture = served

    document = run("replay", capture, "--against", model, "--speed", "2x", "--json").document

    assert document["identical"] == document["rows"] == 3 * REQUESTS
    assert document["lag"]["late_requests"] <= REQUESTS
    assert document["latency"]["measures"] == "queue and compute"


def test_several_candidates_are_a_list_and_a_condition_that_holds_is_7(
    served: tuple[Path, Path], run: Run, tmp_path: Path
) -> None:
    model, capture = served
    other = models.saved(models.labelled_classifier(seed=1), tmp_path / "other.onnx")
    junit = tmp_path / "junit.xml"

    words = ["--fail-on", "agreement<0.999", "--fail-on", "rows<1", "--junit", junit, "--json"]
    done = run("replay", capture, "--against", model, "--against", other, *words)

    same, different = done.document
    assert done.code == 7
    assert (same["passed"], different["passed"]) == (True, False)
    assert [check["passed"] for check in different["checks"]] == [False, True]
    assert different["identical"] < different["rows"]
    failed = [case.get("name") for case in ET.parse(junit).iter("testcase") if case.find("failure") is not None]
    assert failed == ["agreement<0.999"]


def test_a_baseline_may_be_a_version_run_beside(served: tuple[Path, Path], run: Run, tmp_path: Path) -> None:
    _, capture = served
    other = models.saved(models.labelled_classifier(seed=1), tmp_path / "other.onnx")

    document = run("replay", capture, "--against", other, "--baseline", other, "--json").document

    assert document["identical"] == document["rows"] == 3 * REQUESTS
    assert document["baseline"] == str(other)


def test_a_compacted_capture_is_replayed_alike(run: Run, tmp_path: Path) -> None:
    model = models.saved(models.labelled_classifier(), tmp_path / "m.onnx")
    with loaded(models.labelled_classifier()) as answering:
        answered_by(answering, tmp_path / "capture", [[1, 2], [3], [1] * 5] * 4)
    compact(tmp_path / "capture")

    document = run("replay", tmp_path / "capture", "--against", model, "--json").document

    assert document["identical"] == document["rows"] == 11 * 4
    assert document["coverage"]["whole_runs"] == 12


def test_a_damaged_segment_is_replayed_up_to_the_damage(run: Run, tmp_path: Path) -> None:
    model = models.saved(models.labelled_classifier(), tmp_path / "m.onnx")
    with loaded(models.labelled_classifier()) as answering:
        answered_by(answering, tmp_path / "capture", [[1]] * 5)
    (file,) = files_of(tmp_path / "capture")
    file.write_bytes(file.read_bytes()[:-300])

    document = run("replay", tmp_path / "capture", "--against", model, "--json").document

    assert 0 < document["rows"] < 5
    assert document["identical"] == document["rows"]


def test_a_candidate_that_takes_other_inputs_is_refused_before_anything_runs(run: Run, tmp_path: Path) -> None:
    captured(tmp_path / "capture")
    wide = models.saved(models.classifier(features=5), tmp_path / "wide.onnx")

    done = run("replay", tmp_path / "capture", "--against", wide, "--json")

    assert done.code == 9
    assert "does not take what was captured" in done.error["message"]


def test_nothing_to_replay_is_20_and_no_answer_at_all_is_7(run: Run, tmp_path: Path) -> None:
    captured(tmp_path / "capture", recorded((1, 1), status=500, outputs=None))
    model = models.saved(models.classifier(features=3, classes=2), tmp_path / "m.onnx")

    done = run("replay", tmp_path / "capture", "--against", model, "--json")

    assert done.code == 20
    assert done.document["passed"] is False
    assert done.document["coverage"]["left_out"] == {"status 500": 2}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        pytest.param(["--speed", "fast"], 2, "--speed", id="speed"),
        pytest.param(["--fail-on", "agrement<1"], 2, "agrement", id="name"),
        pytest.param(["--metric", "ndcg@x"], 2, "--metric", id="metric"),
        pytest.param(["--since", "yesterday"], 2, "--since", id="time"),
        pytest.param(["--resume"], 4, "interrupted", id="nothing to resume"),
        pytest.param(["--against", "http://127.0.0.1:1/v2/models/m"], 2, "by itself", id="server beside others"),
    ],
)
def test_words_that_are_off_are_told(run: Run, tmp_path: Path, words: list[str], code: int, said: str) -> None:
    with loaded(models.labelled_classifier()) as answering:
        answered_by(answering, tmp_path / "capture", [[1]])
    model = models.saved(models.labelled_classifier(), tmp_path / "m.onnx")

    done = run("replay", tmp_path / "capture", "--against", model, *words, "--json")

    assert done.code == code
    assert said in done.error["message"]


def test_evidence_of_a_registered_version_is_kept(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("init", ".")
    model = models.saved(models.labelled_classifier(), tmp_path / "m.onnx")
    run("register", "m", model)
    with loaded(models.labelled_classifier()) as answering:
        answered_by(answering, tmp_path / "capture", [[1, 2], [3]])

    done = run("replay", tmp_path / "capture", "--against", "m:1", "--fail-on", "agreement<1", "--json")
    shown = run("show", "m:1", "--json").document

    (evidence,) = [item for item in shown["evidence"] if item["kind"] == "replay"]
    assert done.code == 0
    assert (evidence["passed"], evidence["origin"]) == (True, "measured")
    assert evidence["data_digest"] == done.document["data_digest"]
    assert evidence["figures"]["agreement"] == 1.0
    assert evidence["figures"]["identical_share"] == 1.0


def test_ctrl_c_keeps_what_was_done_and_resume_goes_on(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.saved(models.labelled_classifier(), tmp_path / "m.onnx")
    with loaded(models.labelled_classifier()) as answering:
        answered_by(answering, tmp_path / "capture", [[1, 2], [5]] * 80, gap_s=0.02)
    (tmp_path / ".mlserve").mkdir()
    (tmp_path / "mlserve.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    words = ["replay", "capture", "--against", str(model), "--speed", "original"]
    process = subprocess.Popen([*MLSERVE, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "replaying" in process.stderr.readline()  # told once it has gone on for a second
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (130, "")
    assert "--resume" in err
    assert len(list((tmp_path / ".mlserve").glob("replay-*.checkpoint"))) == 1
    document = run(*words, "--resume", "--json").document
    assert document["rows"] == document["identical"] == 8 * 80
    assert document["coverage"]["runs"] == 160
    assert list((tmp_path / ".mlserve").glob("replay-*")) == []


def test_a_replay_that_was_not_interrupted_has_nothing_to_go_on_with(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loaded(models.labelled_classifier()) as answering:
        answered_by(answering, tmp_path / "capture", [[1]])
    model = models.saved(models.labelled_classifier(), tmp_path / "m.onnx")
    monkeypatch.setenv("HOME", str(tmp_path))

    done = run("replay", tmp_path / "capture", "--against", model, "--atol", "0.5", "--resume", "--json")

    assert done.code == 4
    assert done.error["hint"] == "the same command without --resume"


def test_another_replay_cannot_go_on_with_it(tmp_path: Path, run: Run) -> None:
    with loaded(models.labelled_classifier()) as answering:
        answered_by(answering, tmp_path / "capture", [[1]])
    model = models.saved(models.labelled_classifier(), tmp_path / "m.onnx")
    write_checkpoint(tmp_path / ".page.html.checkpoint", {"--atol": 0.5}, [], found())

    words = ["--report", tmp_path / "page.html", "--resume", "--json"]
    done = run("replay", tmp_path / "capture", "--against", model, *words)

    assert done.code == 5
    assert "the replay to go on with had" in done.error["message"]
    assert not (tmp_path / "page.html").exists()


def test_a_child_with_int8_weights_is_within_the_tolerance_of_that_pair(run: Run, tmp_path: Path) -> None:
    proto = models.classifier(features=16, classes=4, hidden=128)
    model = models.saved(proto, tmp_path / "m.onnx")
    rows = np.random.default_rng(1).normal(size=(600, 16)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", x=rows)
    child = tmp_path / "int8.onnx"
    with loaded(proto) as answering:
        answered_by(answering, tmp_path / "capture", [[4, 4]] * 50)
    words = ["--to", "int8-weights", "--evaluate", tmp_path / "rows.npz", "--metric", "agreement", "--force"]
    assert run("quantize", model, "-o", child, *words).code == 0

    document = run("replay", tmp_path / "capture", "--against", child, "--baseline", model, "--json").document

    assert document["rows"] == 400
    assert document["identical"] < document["rows"]
    # Tolerances are two standard deviations of what is typical, and all outputs of a row must be within: most rows are.
    assert document["within_tolerance"] > 0.8 * document["rows"]
    assert document["outputs"][0]["tolerance"]["why"].startswith("four layers of the rounding noise of fp32 and int8")
    assert document["agreement"] > 0.97
    assert document["noise"]["difference_beyond_noise"] is True
    assert document["worst"][0]["inputs"].keys() == {"x"}


def test_a_static_int8_child_is_within_its_tolerance_and_what_is_not_is_explained(run: Run, tmp_path: Path) -> None:
    """Calibrated on calm traffic, it clips what one input has beyond: only there it decides otherwise."""
    model, proto = tmp_path / "m.onnx", models.limit_classifier()
    models.saved(proto, model)
    rng = np.random.default_rng(1)
    calm = rng.uniform(-1, 1, size=(1600, 8)).astype(np.float32)
    wild = calm[:800].copy()
    beyond = rng.random(800) < 0.1
    wild[beyond, 3] = 4 + 4 * rng.random(beyond.sum()).astype(np.float32)
    with loaded(proto) as answering:
        answered_by(answering, tmp_path / "calm", [[4, 4]] * 100, given={"x": calm[:800]})
        answered_by(answering, tmp_path / "capture", [[4, 4]] * 100, given={"x": wild})
    np.savez(tmp_path / "held_out.npz", x=calm[800:])
    child = tmp_path / "int8.onnx"
    data = ["--calibrate", tmp_path / "calm", "--evaluate", tmp_path / "held_out.npz", "--metric", "agreement"]
    assert run("quantize", model, "-o", child, "--to", "int8", *data, "--force").code == 0

    before, after = (
        run("replay", tmp_path / name, "--against", child, "--baseline", model, "--json").document
        for name in ("calm", "capture")
    )

    # Two standard deviations of what is typical for the pair, so that nearly all rows are within.
    assert before["rows"] == 800
    assert before["within_tolerance"] > 0.95 * before["rows"]
    assert before["agreement"] == 1.0
    assert before["outputs"][0]["tolerance"]["why"].startswith("four layers of the rounding noise of fp32 and int8")
    for document in (before, after):
        assert document["noise"]["identical"] == document["noise"]["rows"]
        assert document["noise"]["difference_beyond_noise"] is True
    differing = after["rows"] - after["decisions"]["agree"]
    assert differing > 20
    assert after["explanation"]["rules"][0]["where"].startswith("x[3] > ")
    assert after["explanation"]["rules"][0]["differing"] > 0.5 * differing
    shares = {one["range"]: one["share"] for one in after["explanation"]["slices"] if one["feature"] == "x[3]"}
    assert max(shares, key=lambda where: shares[where]).startswith("> ")
    assert all(row["inputs"]["x"][3] > 1 for row in after["worst"][:10])


def test_rows_of_one_query_are_ranked_together(run: Run, tmp_path: Path) -> None:
    model = models.saved(models.regressor(seed=1), tmp_path / "m.onnx")
    x = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    x[:, 0] = np.arange(40) % 5
    with loaded(models.regressor()) as answering:
        answered_by(answering, tmp_path / "capture", [[1, 1]] * 20, given={"x": x})
    words = ["replay", tmp_path / "capture", "--against", model, "--metric", "ndcg@3", "--json"]

    alone, grouped, unknown = run(*words), run(*words, "--group", "x[0]"), run(*words, "--group", "qid")

    assert alone.document["ranking"] is None
    assert (grouped.document["ranking"]["groups"], grouped.document["ranking"]["k"]) == (5, 3)
    assert 0 < grouped.document["metrics"]["ndcg@3"] < 1
    assert (unknown.code, "no input 'qid'" in unknown.error["message"]) == (2, True)
