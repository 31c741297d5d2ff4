"""Every example runs to its end, told through the real command line."""

import json
import shlex
from pathlib import Path

import pytest

from examples.churn.__main__ import tell as tell_of_flights
from examples.fraud.__main__ import RESULTS, tell
from examples.ranking.__main__ import CANDIDATE_REFS, REPORT
from examples.ranking.__main__ import tell as tell_of_traffic
from examples.story import typed
from examples.text.__main__ import QUESTIONS
from examples.text.__main__ import tell as tell_text
from examples.vision.__main__ import tell as tell_of_vision


@pytest.mark.timeout(600)
def test_the_fraud_story_ends_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tell(tmp_path / "demo")

    results = json.loads((tmp_path / "demo" / RESULTS).read_text())
    assert [parity["rows_over"] for parity in results["parity"]] == [0, 0]
    assert results["swap"]["failed"] == 0
    assert results["swap"]["requests"] > 200
    assert results["rollback"] == {"to": "fraud:1", "failed": 0}
    assert all(item["passed"] for item in results["quantized"])
    assert (tmp_path / "demo" / "fraud-2.html").stat().st_size > 1000
    assert "Next, type:" in capsys.readouterr().out


def test_a_long_command_is_broken_before_an_option_and_can_be_pasted() -> None:
    words = ("register", "fraud", "v1.onnx", "--param", "hidden=[8, 4]", "--note", "x" * 60, "--tag", "a=b")

    shown = typed(*words)

    assert max(map(len, shown.splitlines())) <= 100
    assert tuple(shlex.split(shown.removeprefix("$ mlserve ").replace("\\\n", ""))) == words


@pytest.mark.timeout(600)
def test_the_fraud_story_can_be_told_twice_in_the_same_folder(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "left over").write_text("from the last time")

    tell(tmp_path / "demo")

    assert not (tmp_path / "demo" / "left over").exists()


@pytest.mark.timeout(600)
def test_the_vision_story_ends_well(tmp_path: Path) -> None:
    tell_of_vision(tmp_path / "vision")

    results = json.loads((tmp_path / "vision" / RESULTS).read_text())
    small = results["quantized"]
    assert results["parity"]["rows_over"] == 0
    assert any("does not cover the evaluation data" in reason for reason in results["refused"]["reasons"])
    assert (small["passed"], small["calibration"]["dropped_rows"]) == (True, 0)
    assert small["size_ratio"] > 3.5
    assert small["layers"] == {"int8": 5}
    assert results["served"] == {"rows": 599, "accuracy": pytest.approx(small["metric"]["after"])}


@pytest.mark.timeout(900)
def test_the_text_story_finds_what_is_asked_for(tmp_path: Path) -> None:
    tell_text(tmp_path / "text")

    results = json.loads((tmp_path / "text" / RESULTS).read_text())
    assert results["parity"]["rows_over"] == 0
    assert results["parity"]["rows"] > 100
    assert results["quantized"]["passed"]
    assert results["quantized"]["size_ratio"] > 3.5
    assert results["width"] == 384
    for question, name in QUESTIONS.items():
        assert name in [found for found, _ in results["found"][question]], results["found"]


@pytest.mark.timeout(900)
def test_the_ranking_story_promotes_what_traffic_says_is_better(tmp_path: Path) -> None:
    tell_of_traffic(tmp_path / "ranking")

    results = json.loads((tmp_path / "ranking" / RESULTS).read_text())
    better, worse = CANDIDATE_REFS
    live = {ref: figures["ndcg@10"] - figures["ndcg@10_before"] for ref, figures in results["shadow"].items()}
    offline = {answer["ref"]: answer["metrics"]["ndcg@10_drop"] for answer in results["replay"]}
    assert live[better] > 0.05 > -0.05 > live[worse]
    assert offline[better] < -0.05 < 0.05 < offline[worse]
    assert [answer["passed"] for answer in results["replay"]] == [True, False]
    assert results["outcomes"]["unmatched"] == 0
    assert results["promoted"]["moved"]["ref"] == better
    assert results["promoted"]["refused"]["changed"] is False
    assert "ranker:2, ranker:3" in (tmp_path / "ranking" / REPORT).read_text(encoding="utf-8")


@pytest.mark.timeout(900)
def test_the_churn_story_notices_summer_and_learns_from_it(tmp_path: Path) -> None:
    tell_of_flights(tmp_path / "churn")

    results = json.loads((tmp_path / "churn" / RESULTS).read_text())
    warm, worse, proving = results["checks"]
    drifting = {feature["name"] for feature in warm["features"] if feature["drift"]}
    assert (warm["verdict"], worse["verdict"]) == ("warn", "performance")
    assert {"temperature_f", "dew_point_f"} == drifting
    assert warm["actions"] == []
    assert [(action["action"], action["state"]) for action in worse["actions"]] == [("command", "done")]
    assert worse["actions"][0]["window_rows"] == worse["window"]["rows"] > 13_000
    (proof,) = results["proofs"]
    assert proof["replay"]["metrics"]["log_loss_drop"] < 0
    assert proof["promoted"]
    assert proving["ref"] == "delays:1"
    assert (results["history"][0]["ref"], results["history"][0]["stage"]) == ("delays:2", "production")
