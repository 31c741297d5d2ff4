"""conform, on real servers: exit codes, documents and files, and how it gets in."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench.conformance.faulty import Answered, Asked, Fault, spoiled
from tests.cli.conftest import Run
from tests.cli.test_serve import server
from tests.models import labelled_classifier, saved, strings


@pytest.fixture
def model(clean_environment: Path) -> Path:
    return saved(labelled_classifier(), clean_environment / "fraud.onnx")


def test_our_server_is_exit_0_and_the_document_has_every_case(run: Run, model: Path) -> None:
    with server(model) as served:
        done = run("conform", served.url, "--grpc", served.events[0]["grpc"], "--manage", "--json")

    found = done.document
    assert done.code == 0
    assert found["failed"] == 0
    assert found["passed"] >= 120
    assert len(found["cases"]) == found["passed"] + found["skipped"]
    assert set(found["cases"][0]) == {"name", "level", "extension", "port", "rule", "outcome", "detail", "ms"}
    assert found["models"] == ["fraud"]


def test_a_broken_rule_is_exit_7_and_is_named_with_what_was_seen(run: Run, model: Path) -> None:
    def going(asked: Asked, answered: Answered) -> Answered:
        return Answered(500, {}, b"oops") if answered.status == 404 else answered

    with server(model) as served, spoiled(served.url, Fault("has no 404", going=going)) as url:
        done = run("conform", url, "--only", "models")

    assert done.code == 7
    assert "models.unknown-model-is-404" in done.out
    assert "500 in place of 404" in done.out


def test_what_is_only_custom_may_be_broken_if_the_protocol_alone_is_required(run: Run, model: Path) -> None:
    def going(asked: Asked, answered: Answered) -> Answered:
        return Answered(400, {}, answered.body) if answered.status == 404 else answered

    with server(model) as served, spoiled(served.url, Fault("has no 404", going=going)) as url:
        words = ("conform", url, "--only", "models", "--json")
        assert run(*words).code == 7
        assert run(*words, "--require", "must").code == 0


def test_the_cases_go_into_junit_and_a_page(run: Run, model: Path, clean_environment: Path) -> None:
    with server(model) as served:
        done = run(
            "conform", served.url, "--only", "server", "--only", "grpc.*", "--junit", "c.xml", "--report", "c.html"
        )

    suite = ET.fromstring(Path("c.xml").read_bytes())[0]
    assert done.code == 0
    assert suite.get("tests") == str(len(suite))
    assert suite.get("failures") == "0"
    assert int(suite.get("skipped") or 0) == len(suite.findall("testcase/skipped")) > 0
    page = Path("c.html").read_text("utf-8")
    assert "live-is-200" in page
    assert "needs the address of the gRPC port" in page


def test_a_file_that_could_not_be_written_is_refused_before_the_work(run: Run) -> None:
    done = run("conform", "http://127.0.0.1:9", "--junit", "no/such/folder/c.xml", "--json")

    assert done.error["code"] == 9


def test_where_nobody_listens_it_is_exit_8(run: Run) -> None:
    assert run("conform", "http://127.0.0.1:9", "--json").error["code"] == 8


def test_what_speaks_another_protocol_is_exit_9(run: Run, model: Path) -> None:
    with server(model) as served, spoiled(served.url, Fault("x", going=lambda *_: Answered(200, {}, b"hello"))) as url:
        done = run("conform", url, "--json")

    assert done.error["code"] == 9
    assert "does not speak" in done.error["message"]


def test_a_model_that_is_not_there_is_exit_4(run: Run, model: Path) -> None:
    with server(model) as served:
        assert run("conform", served.url, "--model", "other", "--json").error["code"] == 4


def test_a_rule_that_is_not_there_is_exit_4_with_the_subjects(run: Run, model: Path) -> None:
    done = run("conform", "http://127.0.0.1:9", "--only", "colour", "--json")

    assert done.error["code"] == 4
    assert "binary" in done.error["hint"]


def test_a_request_of_the_users_own_is_asked_with(run: Run, clean_environment: Path) -> None:
    model = saved(strings(), clean_environment / "texts.onnx")
    inputs = [{"name": "text", "datatype": "BYTES", "shape": [2, 1], "data": ["spam", "grün"]}]
    Path("request.json").write_text(json.dumps({"inputs": inputs}), encoding="utf-8")
    seen: list[str] = []

    def coming(asked: Asked) -> Asked:
        seen.append(asked.body.decode("utf-8", "replace") if asked.is_inference else "")
        return asked

    with server(model) as served, spoiled(served.url, Fault("none", coming=coming)) as url:
        words = ("--model", "texts", "--request", "request.json", "--only", "infer")
        found = run("conform", url, *words, "--json").document

    assert found["models"] == ["texts"]
    assert found["failed"] == 0
    assert found["passed"] > 10
    assert any("gr\\u00fcn" in body for body in seen)
    assert not any("text 0" in body for body in seen)


@pytest.mark.parametrize("content", [b"{", b"{}", b'{"inputs": [{"name": "x"}]}', b'{"inputs": 3}'])
def test_a_request_that_is_none_is_exit_9(run: Run, clean_environment: Path, content: bytes) -> None:
    (clean_environment / "r.json").write_bytes(content)

    done = run("conform", "http://127.0.0.1:9", "--model", "a", "--request", "r.json", "--json")

    assert done.error["code"] == 9


def test_a_request_without_its_model_is_exit_2(run: Run) -> None:
    assert run("conform", "http://127.0.0.1:9", "--request", "r.json", "--json").error["code"] == 2


def test_a_server_with_api_keys_is_entered_with_one(run: Run, model: Path, clean_environment: Path) -> None:
    key = run("keys", "add", "ci", "--file", "keys", "--scope", "infer", "--scope", "manage", "--json").document["key"]
    (clean_environment / "key").write_text(f"{key}\n")
    with server(model, "--api-keys", "keys") as served:
        without = run("conform", served.url, "--json")
        done = run(
            "conform", served.url, "--grpc", served.events[0]["grpc"], "--api-key-file", "key", "--manage", "--json"
        )

    assert without.error["hint"] == "--api-key-file FILE"
    assert done.code == 0
    assert done.document["models"] == ["fraud"]


def test_predict_and_bench_get_in_with_a_key_too(run: Run, model: Path, clean_environment: Path) -> None:
    (clean_environment / "rows.json").write_text('[{"x": [1, 2, 3, 4]}]')
    key = run("keys", "add", "ci", "--file", "keys", "--json").document["key"]
    (clean_environment / "key").write_text(f"{key}\n")
    load = ("--concurrency", "1", "--duration", "0.2", "--warmup", "0", "--repeats", "1", "--json")
    with server(model, "--api-keys", "keys") as served:
        grpc = f"grpc://{served.events[0]['grpc']}/fraud"
        without = run("predict", f"{served.url}/v2/models/fraud", "rows.json", "--json")
        asked = run("predict", served.url, "rows.json", "--api-key-file", "key", "--json")
        loaded = [run("bench", target, *load, "--api-key-file", "key") for target in (served.url, grpc)]
        refused = [run("bench", target, *load) for target in (f"{served.url}/v2/models/fraud", grpc)]

    assert without.error["hint"] == "--api-key-file FILE"
    assert set(asked.document) == {"label", "probabilities"}
    assert [done.document["runs"][0]["errors"] for done in loaded] == [0, 0]
    assert {done.error["code"] for done in refused} == {8}
