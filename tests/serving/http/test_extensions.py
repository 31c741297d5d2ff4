"""Triton's extensions over HTTP: configuration, statistics, loading, classification, receipts; and what is refused."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from mlserve.core.dtypes import DType
from mlserve.core.histograms import Histogram
from mlserve.errors import InvalidInput, Unavailable
from mlserve.serving.seam import RunTiming
from mlserve.serving.tallies import BatchTally, ModelStatistics, Tally
from tests.serving.fakes import FakeEngine, FakeModel, echo, view_of
from tests.serving.http.wire import Client, Parsed, message, row


def get(client: Client, path: str) -> Parsed:
    client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return client.took()[0]


def posted(client: Client, path: str, body: str = "", *headers: str) -> Parsed:
    """The reply to a request that is answered by a task of its own."""

    async def ask() -> Parsed:
        client.send(message(body, *headers, start=f"POST {path} HTTP/1.1"))
        while not client.wire.written:
            await asyncio.sleep(0)
        return client.took()[0]

    return asyncio.run(ask())


def test_the_configuration_says_what_clients_plan_by(client: Client) -> None:
    config = get(client, "/v2/models/fraud/config").json

    assert (config["name"], config["platform"], config["max_batch_size"]) == ("fraud", "onnxruntime_onnx", 1)
    assert config["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [3]}]
    assert config["dynamic_batching"] == {}


def test_a_model_that_is_not_batched_keeps_all_its_axes(engine: FakeEngine, client: Client) -> None:
    view = view_of({"t": (DType.STRING, (2, None))}, {"y": (DType.INT64, ())}, name="fixed", is_batchable=False)
    engine.add(FakeModel(view, lambda inputs: inputs))

    config = get(client, "/v2/models/fixed/versions/1/config").json

    assert config["max_batch_size"] == 0
    assert config["input"] == [{"name": "t", "data_type": "TYPE_STRING", "dims": [2, -1]}]
    assert "dynamic_batching" not in config


def counted(name: str, version: str) -> ModelStatistics:
    tallies = [Tally(count, 1000 * count) for count in range(1, 9)]
    batch = BatchTally(4, Tally(2, 20), Tally(2, 30), Tally(2, 40))
    return ModelStatistics(
        name, version, 1_700_000_000_000, 8, 2, *tallies, [batch], {}, {"rows": Histogram.over([1.0])}
    )


def test_statistics_have_tritons_fields(engine: FakeEngine, client: Client) -> None:
    engine.counted = [counted("fraud", "1"), counted("echo", "1")]

    everything = get(client, "/v2/models/stats").json["model_stats"]
    (one,) = get(client, "/v2/models/fraud/versions/1/stats").json["model_stats"]

    assert [found["name"] for found in everything] == ["fraud", "echo"]
    assert one == {
        "name": "fraud",
        "version": "1",
        "last_inference": 1_700_000_000_000,
        "inference_count": 8,
        "execution_count": 2,
        "inference_stats": {
            part: {"count": count, "ns": 1000 * count}
            for count, part in enumerate(
                (
                    "success",
                    "fail",
                    "queue",
                    "compute_input",
                    "compute_infer",
                    "compute_output",
                    "cache_hit",
                    "cache_miss",
                ),
                start=1,
            )
        },
        "response_stats": {},
        "batch_stats": [
            {
                "batch_size": 4,
                "compute_input": {"count": 2, "ns": 20},
                "compute_infer": {"count": 2, "ns": 30},
                "compute_output": {"count": 2, "ns": 40},
            }
        ],
        "memory_usage": [],
    }


@pytest.mark.parametrize(
    ("body", "versions"),
    [
        pytest.param("", None, id="empty body"),
        pytest.param("{}", None, id="empty object"),
        pytest.param('{"parameters":{}}', None, id="no parameters"),
        pytest.param('{"versions":[7,8]}', [7, 8], id="versions"),
        pytest.param('{"parameters":{"versions":[7]}}', [7], id="versions as a parameter"),
        pytest.param(
            json.dumps({"parameters": {"config": json.dumps({"version_policy": {"specific": {"versions": ["3"]}}})}}),
            [3],
            id="Triton's version policy",
        ),
        pytest.param(json.dumps({"parameters": {"config": json.dumps({"name": "x"})}}), None, id="another config"),
    ],
)
def test_a_load_is_passed_on(engine: FakeEngine, client: Client, body: str, versions: list[int] | None) -> None:
    reply = posted(client, "/v2/repository/models/fraud/load", body)

    assert (reply.status, reply.body) == (200, b"")
    assert engine.loads == [("fraud", versions)]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param("[]", 400, id="no object"),
        pytest.param('{"versions":[0]}', 400, id="version nought"),
        pytest.param('{"versions":"7"}', 400, id="text"),
        pytest.param('{"versions":[true]}', 400, id="flags"),
        pytest.param('{"versions":[]}', 400, id="none"),
        pytest.param('{"parameters":{"config":"nonsense"}}', 400, id="config that is no JSON"),
        pytest.param('{"parameters":{"config":"[1]"}}', 400, id="config that is no object"),
        pytest.param('{"parameters":{"file:1/model.onnx":"AAAA"}}', 501, id="a file"),
        pytest.param('{"a":' * 300, 400, id="deep"),
    ],
)
def test_a_load_that_says_nothing_sensible_is_refused(
    engine: FakeEngine, client: Client, body: str, status: int
) -> None:
    reply = posted(client, "/v2/repository/models/fraud/load", body)

    assert reply.status == status
    assert "error" in reply.json
    assert engine.loads == []


def test_a_load_that_fails_says_why(engine: FakeEngine, client: Client) -> None:
    engine.refuse = InvalidInput("fraud:9 cannot be loaded: it is no model")

    reply = posted(client, "/v2/repository/models/fraud/load")

    assert (reply.status, reply.json) == (400, {"error": "fraud:9 cannot be loaded: it is no model"})


@pytest.mark.parametrize("body", ["", '{"parameters":{"unload_dependents":true}}'])
def test_an_unload_is_passed_on(engine: FakeEngine, client: Client, body: str) -> None:
    assert posted(client, "/v2/repository/models/fraud/unload", body).status == 200
    assert engine.unloads == ["fraud"]


def test_an_answer_behind_a_load_waits_for_it(engine: FakeEngine, client: Client) -> None:
    async def ask() -> list[Parsed]:
        client.send(message("", start="POST /v2/repository/models/fraud/load HTTP/1.1") + message(row(1, 2, 3)))
        engine.release()
        assert client.took() == []
        while not client.wire.written:
            await asyncio.sleep(0)
        return client.took()

    load, answer = asyncio.run(ask())

    assert (load.body, answer.json["model_name"]) == (b"", "fraud")


def test_a_load_whose_client_has_gone_is_finished(engine: FakeEngine, client: Client) -> None:
    async def ask() -> None:
        client.send(message("", start="POST /v2/repository/models/fraud/load HTTP/1.1"))
        client.connection.connection_lost(None)
        while not engine.loads:
            await asyncio.sleep(0)

    asyncio.run(ask())

    assert client.wire.written == b""


@pytest.mark.parametrize(
    ("start", "word"),
    [
        pytest.param("GET /v2/systemsharedmemory/status", "shared memory", id="system memory"),
        pytest.param("POST /v2/cudasharedmemory/region/r/register", "shared memory", id="CUDA memory"),
        pytest.param("GET /v2/trace/setting", "tracing", id="tracing"),
        pytest.param("POST /v2/models/fraud/trace/setting", "tracing", id="tracing of a model"),
        pytest.param("POST /v2/logging", "logging", id="logging"),
        pytest.param("POST /v2/repository/mine/index", "one repository", id="another repository's index"),
        pytest.param("POST /v2/repository/mine/models/fraud/load", "one repository", id="another repository's model"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(client: Client, start: str, word: str) -> None:
    client.send(message("", start=f"{start} HTTP/1.1"))

    (reply,) = client.took()
    assert reply.status == 501
    assert word in reply.json["error"]


def test_classes_come_in_place_of_the_output(engine: FakeEngine, client: Client) -> None:
    body = row(3, 1, 2, outputs=[{"name": "y", "parameters": {"classification": 2}}])

    client.send(message(body))
    engine.release()

    (output,) = client.took()[0].json["outputs"]
    assert output == {"name": "y", "datatype": "BYTES", "shape": [1, 2], "data": ["6.0:0", "4.0:2"]}


def test_classes_come_as_blobs_too(engine: FakeEngine, client: Client) -> None:
    body = row(3, 1, 2, outputs=[{"name": "y", "parameters": {"classification": 1, "binary_data": True}}])

    client.send(message(body))
    engine.release()

    (reply,) = client.took()
    length = int(reply.headers["inference-header-content-length"])
    assert json.loads(reply.body[:length])["outputs"][0]["parameters"] == {"binary_data_size": 9}
    assert reply.body[length:] == b"\x05\0\0\x006.0:0"


def test_a_receipt_says_where_the_time_went(engine: FakeEngine, client: Client) -> None:
    engine.timing = RunTiming(5e11, 5e11, 5e11, 1, 1)

    client.send(message(row(1, 2, 3), "mlserve-receipt: 1"))
    engine.release()

    receipt = dict(re.findall(r'(\w+)="?([^",]*)', client.took()[0].headers["mlserve-receipt"]))
    parts = sum(int(receipt[name]) for name in ("queue", "gather", "run", "encode"))
    assert parts == int(receipt["total"])
    assert (receipt["rows"], receipt["requests"], receipt["version"]) == ("1", "1", "1")


def test_a_run_that_began_before_the_request_came_takes_none_of_its_time(engine: FakeEngine, client: Client) -> None:
    engine.timing = RunTiming(1.0, 2.0, 3.0, 1, 1)

    client.send(message(row(1, 2, 3), "mlserve-receipt: 1"))
    engine.release()

    assert client.took()[0].headers["mlserve-receipt"].startswith("queue=0, gather=0, run=0, ")


@pytest.mark.parametrize("fields", [{"parameters": {"receipt": True}}, {"id": "a", "parameters": {"receipt": True}}])
def test_a_receipt_can_be_asked_for_in_the_body(engine: FakeEngine, client: Client, fields: dict[str, Any]) -> None:
    client.send(message(row(1, 2, 3, **fields)) + message(row(1, 2, 3)))
    engine.release()

    with_receipt, without = client.took()
    assert "mlserve-receipt" in with_receipt.headers
    assert "mlserve-receipt" not in without.headers


@pytest.mark.parametrize(
    ("headers", "fields", "expected"),
    [
        pytest.param(["mlserve-unit-key: user-7"], {}, "user-7", id="header"),
        pytest.param([], {"parameters": {"unit_key": "user-8"}}, "user-8", id="parameter"),
        pytest.param(["mlserve-unit-key: a"], {"parameters": {"unit_key": "b"}}, "b", id="both"),
        pytest.param([], {}, None, id="none"),
    ],
)
def test_the_unit_key_comes_along(
    engine: FakeEngine, client: Client, headers: list[str], fields: dict[str, Any], expected: str | None
) -> None:
    client.send(message(row(1, 2, 3, **fields), *headers))

    assert engine.tickets[0].request.unit_key == expected


def test_an_unready_model_is_not_configured(engine: FakeEngine, client: Client) -> None:
    assert get(client, "/v2/models/nobody/config").status == 404
    assert get(client, "/v2/models/nobody/stats").status == 404


def test_the_extensions_told_are_those_that_answer(client: Client) -> None:
    extensions = get(client, "/v2").json["extensions"]

    assert "sequence" not in extensions
    assert {"classification", "statistics", "model_configuration", "model_repository"} <= set(extensions)


def test_a_refused_load_is_unavailable(engine: FakeEngine, client: Client) -> None:
    engine.refuse = Unavailable("the registry is out of reach")

    assert posted(client, "/v2/repository/models/fraud/load").status == 503


def test_an_output_of_texts_has_no_classes(engine: FakeEngine, client: Client) -> None:
    engine.add(echo(DType.STRING, name="texts"))
    body = {
        "inputs": [{"name": "x", "shape": [1, 1], "datatype": "BYTES", "data": ["a"]}],
        "outputs": [{"name": "y", "parameters": {"classification": 1}}],
    }

    client.send(message(json.dumps(body), start="POST /v2/models/texts/infer HTTP/1.1"))

    assert client.took()[0].status == 400


def test_many_classes_are_clipped_to_those_there_are(engine: FakeEngine, client: Client) -> None:
    client.send(message(row(3, 1, 2, outputs=[{"name": "y", "parameters": {"classification": 99}}])))
    engine.release()

    assert client.took()[0].json["outputs"][0]["shape"] == [1, 3]


def test_a_server_that_captures_nothing_takes_no_outcomes(client: Client) -> None:
    reply = posted(client, "/v2/models/fraud/outcomes", '{"outcomes": []}')

    assert (reply.status, "captures no requests" in reply.json["error"]) == (501, True)
    assert posted(client, "/v2/models/nobody/outcomes", '{"outcomes": []}').status == 404
