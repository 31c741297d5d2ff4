"""The binary tensor data extension and the rules of the JSON beside it, one case a rule, over the whole server.

Source: Triton's protocol extension_binary_data; the words of a case are the rule that it checks.
"""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.serving.fuzzing.server import Reply, Server

HEADER = "inference-header-content-length"
X = np.float32([[1, 2, 3, 4]])
A, B = np.float32([[1, 2, 3, 4]]), np.float32([[5, 6, 7, 8]])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def asked(server: Server, model: str, body: bytes, *headers: str) -> Reply:
    return server.post(f"/v2/models/{model}/infer", body, *(header.encode() for header in headers))


def blob(name: str, array: np.ndarray[Any, Any], size: Any = None, datatype: str = "FP32") -> dict[str, Any]:
    size = array.nbytes if size is None else size
    return {"name": name, "shape": array.shape, "datatype": datatype, "parameters": {"binary_data_size": size}}


def plain(name: str, array: np.ndarray[Any, Any], datatype: str = "FP32") -> dict[str, Any]:
    return {"name": name, "shape": array.shape, "datatype": datatype, "data": array.ravel().tolist()}


def sent(
    server: Server, model: str, inputs: list[dict[str, Any]], blobs: bytes = b"", length: int | None = None, **more: Any
) -> Reply:
    """A request of JSON and ``blobs``; the header has the length of the JSON unless ``length`` says otherwise."""
    text = json.dumps({"inputs": inputs, **more}).encode()
    return asked(
        server, model, text + blobs, f"Inference-Header-Content-Length: {len(text) if length is None else length}"
    )


def parts(reply: Reply) -> tuple[dict[str, Any], bytes]:
    """JSON and blobs of an answer."""
    assert reply.status == 200, reply.body
    length = int(reply.headers.get(HEADER, len(reply.body)))
    return json.loads(reply.body[:length]), reply.body[length:]


def outputs(reply: Reply) -> dict[str, dict[str, Any]]:
    return {output["name"]: output for output in parts(reply)[0]["outputs"]}


# What is asked for, and how it is written.


def test_without_the_header_the_whole_body_is_json(server: Server) -> None:
    reply = asked(server, "m", json.dumps({"inputs": [plain("x", X)]}).encode())

    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert HEADER not in reply.headers


def test_blobs_are_taken_in_the_order_of_the_inputs_that_have_a_size(server: Server) -> None:
    swapped = sent(server, "two", [blob("b", B), blob("a", A)], B.tobytes() + A.tobytes())
    mixed = sent(server, "two", [plain("a", A), blob("b", B)], B.tobytes())
    expected = sent(server, "two", [plain("a", A), plain("b", B)])

    assert outputs(swapped)["dot"]["data"] == outputs(mixed)["dot"]["data"] == outputs(expected)["dot"]["data"]


@pytest.mark.parametrize(
    ("parameters", "wanted", "binary"),
    [
        pytest.param({}, None, set(), id="no output is a blob unless asked for"),
        pytest.param({"binary_data_output": True}, None, {"sum", "dot"}, id="binary_data_output is for all outputs"),
        pytest.param({"binary_data_output": False}, None, set(), id="binary_data_output may be false"),
        pytest.param({}, [("sum", True), ("dot", False)], {"sum"}, id="binary_data is for its output alone"),
        pytest.param({}, [("sum", True), ("dot", None)], {"sum"}, id="without either an output is JSON"),
        pytest.param(
            {"binary_data_output": True},
            [("sum", False), ("dot", None)],
            {"dot"},
            id="binary_data overrides the default",
        ),
        pytest.param(
            {"binary_data_output": True}, [("sum", None)], {"sum"}, id="the default holds for an output that is listed"
        ),
    ],
)
def test_an_answer_has_as_blobs_what_was_asked_for(
    server: Server, parameters: dict[str, Any], wanted: list[tuple[str, bool | None]] | None, binary: set[str]
) -> None:
    more: dict[str, Any] = {"parameters": parameters}
    if wanted is not None:
        listed = [(name, {} if how is None else {"parameters": {"binary_data": how}}) for name, how in wanted]
        more["outputs"] = [{"name": name, **how} for name, how in listed]

    reply = sent(server, "two", [plain("a", A), plain("b", B)], **more)

    document, blobs = parts(reply)
    found = {output["name"]: output for output in document["outputs"]}
    assert {name for name, output in found.items() if "parameters" in output} == binary
    assert all(("data" in output) is (name not in binary) for name, output in found.items())
    assert sum(found[name]["parameters"]["binary_data_size"] for name in binary) == len(blobs)
    assert (HEADER in reply.headers) is bool(binary)
    assert reply.headers["content-type"] == ("application/octet-stream" if binary else "application/json")
    assert list(found) == (["sum", "dot"] if wanted is None else [name for name, _ in wanted])


def test_blobs_of_an_answer_lie_in_the_order_of_its_outputs(server: Server) -> None:
    both = [{"name": name, "parameters": {"binary_data": True}} for name in ("dot", "sum")]

    _, blobs = parts(sent(server, "two", [plain("a", A), plain("b", B)], outputs=both))

    assert blobs == np.float32([70]).tobytes() + (A + B).tobytes()


@pytest.mark.parametrize("wanted", [{"parameters": {"binary_data_output": True}},
                                    {"outputs": [{"name": "y", "parameters": {"binary_data": True}}]}])  # fmt: skip
def test_where_every_blob_is_empty_the_answer_is_json_with_sizes_of_0(server: Server, wanted: dict[str, Any]) -> None:
    reply = sent(server, "int8", [blob("x", np.empty((0, 2), np.int8), datatype="INT8")], **wanted)

    assert reply.headers["content-type"] == "application/json"
    assert HEADER not in reply.headers
    assert outputs(reply)["y"] == {
        "name": "y", "datatype": "INT8", "shape": [0, 2], "parameters": {"binary_data_size": 0}
    }  # fmt: skip


def test_bytes_are_a_little_endian_length_and_that_many_bytes(server: Server) -> None:
    raw = struct.pack("<I4sI4s", 4, b"spam", 4, "hám".encode())
    item = {"name": "text", "shape": [2, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}

    document, blobs = parts(sent(server, "texts", [item], raw, parameters={"binary_data_output": True}))

    sizes = {output["name"]: output["parameters"]["binary_data_size"] for output in document["outputs"]}
    assert (sizes, blobs) == ({"same": len(raw), "is_spam": 2}, raw + b"\1\0")


# Raw-binary requests.


@pytest.mark.parametrize("rows", [1, 3])
def test_a_header_of_0_makes_the_body_one_tensor_and_the_answer_blobs(server: Server, rows: int) -> None:
    body = np.repeat(X, rows, axis=0).tobytes()

    reply = asked(server, "m", body, "Inference-Header-Content-Length: 0")

    document, blobs = parts(reply)
    assert document["outputs"][0]["shape"] == [rows, 3]
    assert document["outputs"][0]["parameters"] == {"binary_data_size": len(blobs)} == {"binary_data_size": 12 * rows}


def test_a_bare_body_of_bytes_is_one_text_without_a_length(server: Server) -> None:
    document, blobs = parts(asked(server, "texts", b"spam", "Inference-Header-Content-Length: 0"))

    assert document["outputs"][0]["shape"] == [1, 1]
    assert blobs == b"\4\0\0\0spam\1"


# What does not fit.


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        pytest.param(
            lambda s: sent(s, "m", [blob("x", X)], X.tobytes(), length=10**6), "only", id="the JSON ends after the body"
        ),
        pytest.param(
            lambda s: asked(s, "m", b"{}", "Inference-Header-Content-Length: -1"), "no count", id="a negative length"
        ),
        pytest.param(lambda s: sent(s, "m", [blob("x", X)], X.tobytes()[:-1]), "only 15 are", id="a blob too short"),
        pytest.param(lambda s: sent(s, "m", [blob("x", X)], X.tobytes() + b"z"), "to no input", id="bytes behind"),
        pytest.param(lambda s: sent(s, "m", [plain("x", X)], b"zz"), "belong to no input", id="blobs of no input"),
        pytest.param(lambda s: sent(s, "m", [blob("x", X, 12)], bytes(12)), "needs 16", id="a size not of the shape"),
        pytest.param(
            lambda s: sent(s, "m", [blob("x", X) | {"data": [1, 2, 3, 4]}], X.tobytes()), "both", id="data and a size"
        ),
        pytest.param(
            lambda s: sent(s, "m", [{"name": "x", "shape": [1, 4], "datatype": "FP32"}]), "neither", id="neither"
        ),
        pytest.param(
            lambda s: sent(s, "texts", [{**blob("text", np.int8([[9]]), 4, "BYTES")}], b"\x09\0\0\0"),
            "only 0 are left", id="a text longer than its blob",
        ),
        pytest.param(
            lambda s: asked(s, "two", b"", "Inference-Header-Content-Length: 0"), "one input", id="bare, of two inputs"
        ),
        pytest.param(
            lambda s: asked(s, "m", bytes(15), "Inference-Header-Content-Length: 0"), "needs 0", id="bare, half a row"
        ),
        pytest.param(
            lambda s: sent(s, "m", [plain("x", X)], parameters={"triton_x": 1}), "server's own", id="a triton_ name"
        ),
        pytest.param(
            lambda s: sent(s, "m", [plain("x", X)], parameters={"binary_data_output": 1}), "not true or", id="no flag"
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_400_and_says_why(server: Server, ask: Callable[[Server], Reply], said: str) -> None:
    reply = ask(server)

    assert reply.status == 400
    assert said in json.loads(reply.body)["error"]


# Compression.


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_the_length_in_the_header_is_that_of_the_json_before_compression(
    server: Server, coding: str, compress: Callable[[bytes], bytes]
) -> None:
    rows = np.ones((300, 4), np.float32)
    text = json.dumps({"inputs": [blob("x", rows)], "parameters": {"binary_data_output": True}}).encode()
    inflate = gzip.decompress if coding == "gzip" else zlib.decompress
    headers = [f"Content-Encoding: {coding}", f"Inference-Header-Content-Length: {len(text)}"]

    as_is = asked(server, "m", text + rows.tobytes(), headers[1])
    reply = asked(server, "m", compress(text + rows.tobytes()), *headers, f"Accept-Encoding: {coding}")

    assert reply.headers["content-encoding"] == coding
    assert inflate(reply.body) == as_is.body
    assert reply.headers[HEADER] == as_is.headers[HEADER]


def test_an_unknown_coding_is_refused_by_name(server: Server) -> None:
    reply = asked(server, "m", b"{}", "Content-Encoding: br")

    assert reply.status == 415
    assert "gzip, deflate" in json.loads(reply.body)["error"]
