"""What turned out to be true is told by file or over HTTP, joined to what servers captured, and judged on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest

from mlserve.rows.outcomes import Outcomes
from mlserve.traffic.surveying import survey
from tests.cli.conftest import Run
from tests.processes import MLSERVE, listening
from tests.traffic.making import captured, recorded

ROWS = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)


def asked(url: str, rows: Any, model: str = "fraud") -> tuple[str, list[int]]:
    """The request's id, and the labels that were answered."""
    array = np.asarray(rows, np.float32)
    tensor = {"name": "x", "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist()}
    with urlopen(Request(f"{url}/v2/models/{model}/infer", json.dumps({"inputs": [tensor]}).encode())) as reply:
        answer = json.load(reply)
    labels = next(one["data"] for one in answer["outputs"] if one["datatype"] == "INT64")
    return reply.headers["mlserve-request-id"], labels


def told(url: str, body: Any, model: str = "fraud") -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with urlopen(Request(f"{url}/v2/models/{model}/outcomes", content), timeout=30) as reply:
        return json.load(reply)


def until_captured(folder: Path, requests: int) -> None:
    """Wait for so many to be on disk, which takes half a second, and longer on a machine that does much else."""
    ends = time.monotonic() + 60
    while not folder.is_dir() or sum(one.requests for one in survey(folder)) < requests:
        assert time.monotonic() < ends
        time.sleep(0.05)


def refused(url: str, body: Any, model: str = "fraud") -> tuple[int, str]:
    with pytest.raises(HTTPError) as error:
        told(url, body, model)
    return error.value.code, json.load(error.value)["error"]


def saved(path: Path, given: dict[str, Any], label: str = "label") -> Path:
    frame = pd.DataFrame({"request_id": list(given), label: list(given.values())})
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".parquet":
            frame.to_parquet(path, index=False)
        case _:
            frame.to_json(path, orient="records", lines=True)
    return path


def test_a_served_model_is_told_its_outcomes_without_another_word_and_judged_on_them(
    fraud: Path, run: Run, tmp_path: Path
) -> None:
    assert run("promote", "fraud:1", "--to", "production").code == 0
    folder = tmp_path / "capture"
    with listening(MLSERVE, fraud, "fraud", "--grpc-port", "off", "--capture", str(folder)) as ready:
        answers = dict(asked(ready["http"], ROWS[at : at + 1]) for at in range(40))
        until_captured(folder, 40)
        truth = {name: labels[0] for name, labels in list(answers.items())[:30]}
        csv = saved(fraud / "labels.csv", truth | {"nobody": 1}, "is_fraud")

        done = run("outcome", "fraud", csv, "--label", "is_fraud", "--json")
        again = run("outcome", "fraud", csv, "--label", "is_fraud")

    counts = {"outcomes": 31, "joined": 30, "unmatched": 1, "duplicate": 0, "corrected": 0, "spread": 0, "late": 0}
    assert done.document == counts | {"capture": str(folder / "fraud")}
    assert "0 of 31 outcomes joined" in again.out
    assert "30 known already, 1 without a captured request" in again.out
    (line,) = run("traffic", "list", folder, "--json").document
    assert (line["requests"], line["outcomes"]) == (40, 30)
    assert run("traffic", "stats", folder, "--json").document[0]["outcomes"] == 30

    judged = run(
        "quantize", "fraud:1", "-o", "small.onnx", "--to", "fp16", "--evaluate", folder / "fraud",
        "--metric", "accuracy", "--force", "--json",
    )  # fmt: skip
    assert judged.code == 0, judged.err
    assert judged.document["metric"]["before"] == 1.0
    assert judged.document["metric"]["rows"] == 30
    assert any("10 rows of" in note and "no outcome yet" in note for note in judged.document["notes"])


def test_outcomes_are_posted_to_whichever_worker(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "capture"
    words = [str(model), "--grpc-port", "off", "--workers", "2", "--capture", str(folder)]
    with listening(MLSERVE, tmp_path, *words) as ready:
        url = ready["http"]
        one, _ = asked(url, ROWS[:1])
        three, _ = asked(url, ROWS[:3])
        until_captured(folder, 2)

        first = told(url, {"outcomes": [{"id": one, "label": 1}, {"request_id": three, "label": [0, None, 1]}]})
        for _ in range(4):  # whichever worker it comes to
            again = told(url, {"outcomes": [{"id": one, "label": 1}, {"id": three, "label": 0, "row": 2}]})
            other = told(url, {"outcomes": [{"id": three, "label": 1, "row": 2}, {"id": "x", "label": 1}]})

        assert (first["joined"], first["outcomes"]) == (3, 3)
        assert (again["duplicate"], again["corrected"]) == (1, 1)
        assert (other["corrected"], other["unmatched"]) == (1, 1)
        late = told(url, {"outcomes": [{"id": one, "label": 1, "time": "2100-01-01"}], "horizon_s": 60})
        assert late["late"] == 1

        assert refused(url, {"outcomes": [{"id": one}]})[0] == 400
        assert "outcome 1 has no 'label'" in refused(url, {"outcomes": [{"id": one}]})[1]
        assert "has 'lable'" in refused(url, {"outcomes": [{"id": one, "lable": 1}]})[1]
        assert refused(url, b"[")[0] == 400
        assert refused(url, b"[" * 1000)[0] == 400
        assert refused(url, {"outcomes": [{"id": one, "label": "text"}]})[0] == 400
        assert refused(url, {"outcomes": []}, "nobody")[0] == 404
    found = Outcomes.open(folder).labels([one, three], np.array([1, 3]))
    assert found is not None
    assert found.tolist() == [1, 0, None, 1]


def test_a_server_with_keys_takes_outcomes_from_who_may_infer(model: Path, tmp_path: Path, run: Run) -> None:
    keys = tmp_path / "keys.txt"
    scoped = {
        scope: run("keys", "add", scope, "--scope", scope, "--file", keys, "--json").document["key"]
        for scope in ("infer", "metrics")
    }
    words = [str(model), "--grpc-port", "off", "--api-keys", str(keys), "--capture", str(tmp_path / "capture")]
    with listening(MLSERVE, tmp_path, *words) as ready:
        codes = []
        for key in (None, scoped["metrics"], scoped["infer"]):
            headers = {} if key is None else {"authorization": f"Bearer {key}"}
            body = json.dumps({"outcomes": [{"id": "a", "label": 1}]}).encode()
            try:
                with urlopen(Request(f"{ready['http']}/v2/models/fraud/outcomes", body, headers)) as reply:
                    codes.append(reply.status)
            except HTTPError as error:
                codes.append(error.code)
    assert codes == [401, 403, 200]


def test_a_killed_server_has_what_it_answered(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "capture"
    server = subprocess.Popen(
        [*MLSERVE, "serve", str(model), "--port", "0", "--grpc-port", "off", "--json", "--capture", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    with server:
        url = json.loads(server.stdout.readline())["http"]
        for at in range(5):
            told(url, {"outcomes": [{"id": f"r-{at}", "label": at}]})
        server.send_signal(signal.SIGKILL)

    found = Outcomes.open(folder).labels([f"r-{at}" for at in range(5)], np.ones(5, np.int64))
    assert found is not None
    assert found.tolist() == [0, 1, 2, 3, 4]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A capture of ``fraud``: id-0, id-1, id-2 of a row each."""
    return captured(tmp_path / "capture", recorded())


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_every_form_of_file_is_taken(capture: Path, run: Run, suffix: str) -> None:
    file = saved(Path(f"labels{suffix}"), {"id-0": 1, "id-1": 0, "x": 1})

    done = run("outcome", "fraud", file, "--capture", capture, "--json").document

    assert (done["joined"], done["unmatched"]) == (2, 1)
    assert run("outcome", "fraud", file, "--capture", capture / "fraud", "--json").document["duplicate"] == 2
    assert run("outcome", "fraud", file, "--capture", capture, "--quiet").out.strip() == str(capture / "fraud")


def test_the_setting_names_the_capture(capture: Path, run: Run) -> None:
    Path("mlserve.toml").write_text(f'[serve]\ncapture = "{capture}"\n')

    assert run("outcome", "fraud", saved(Path("a.csv"), {"id-0": 1}), "--json").document["joined"] == 1


def test_late_and_spread_ones_are_told(tmp_path: Path, run: Run) -> None:
    capture = captured(tmp_path / "capture", recorded((2,)))
    Path("a.jsonl").write_text('{"id": "id-0", "label": 1, "time": "2026-12-27T05:30:00Z"}\n')

    done = run("outcome", "fraud", "a.jsonl", "--capture", capture, "--horizon", "7d")

    assert "1 became known later than 7d" in done.err
    assert "one label for a request of several rows" in done.err
    assert run("outcome", "fraud", "a.jsonl", "--capture", capture, "--horizon", "60d", "--json").document["late"] == 0


def test_a_bad_row_is_named_and_nothing_is_written(capture: Path, run: Run) -> None:
    Path("bad.csv").write_text("request_id,label\nid-0,1\nid-1,\n")

    error = run("outcome", "fraud", "bad.csv", "--capture", capture, "--json").error

    assert (error["code"], "row 2" in error["message"]) == (9, True)
    assert not (capture / "fraud" / "outcomes").exists()


def test_where_there_is_no_capture_it_is_said(capture: Path, run: Run, project: Path) -> None:
    file = saved(Path("a.csv"), {"id-0": 1})

    nowhere = run("outcome", "fraud", file, "--json").error
    assert (nowhere["code"], nowhere["message"]) == (4, "no capture of 'fraud'")
    assert "--capture DIR" in nowhere["hint"]
    typo = run("outcome", "fruad", file, "--capture", capture, "--json").error
    assert (typo["code"], typo["hint"]) == (4, "did you mean 'fraud'?")
    assert run("outcome", "fraud", file, "--capture", "missing", "--json").error["code"] == 4
    assert run("outcome", "../fraud", file, "--capture", capture, "--json").error["code"] == 2
    assert run("outcome", "fraud", "missing.csv", "--capture", capture, "--json").error["code"] == 4
    assert run("outcome", "fraud", file, "--capture", capture, "--horizon", "soon").code == 2


def test_outside_any_project_the_capture_must_be_given(run: Run) -> None:
    assert run("outcome", "fraud", saved(Path("a.csv"), {"id-0": 1}), "--json").error["message"] == (
        "no capture of 'fraud'"
    )


def test_of_several_captures_the_latest_is_meant_and_the_others_are_named(
    capture: Path, run: Run, project: Path, tmp_path: Path
) -> None:
    from mlserve import wiring
    from mlserve.registry.captures import report_captures

    older = captured(tmp_path / "older", recorded(start=10))
    with wiring.connect() as app:
        for folder in (tmp_path / "gone", older, capture):
            report_captures(app.store, ["fraud"], host=os.uname().nodename, folder=str(folder), now=app.clock())
        report_captures(app.store, ["fraud"], host="elsewhere", folder=str(older), now=app.clock())

    done = run("outcome", "fraud", saved(Path("a.csv"), {"id-0": 1}))

    assert "1 of 1 outcomes joined" in done.out
    assert f"captured in {older} too" in done.err
