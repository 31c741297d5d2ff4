"""What is fuzzed: for each way in, what is done with any bytes, and valid requests to begin from.

The first byte of an input says which model (or route, or header) is meant; the rest is what is sent. A target returns
if the server kept its rules, and raises if it did not.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlserve.protocol.messages import INFERENCE
from mlserve.serving.oip.slices import LEAST_BYTES
from tests.serving.fuzzing.server import DTYPES, PROTOS, VALID, Server

MODELS = list(PROTOS)
CONTROL = [
    "/v2/repository/models/float32/load",
    "/v2/repository/models/float32/unload",
    "/v2/repository/index",
    "/v2/models/float32/config",
]
METHODS = ["RepositoryModelLoad", "RepositoryModelUnload", "RepositoryIndex", "ModelMetadata", "ModelStatistics"]
CODINGS = [b"gzip", b"deflate", b"x-gzip", b"identity", b"br"]

Target = Callable[[Server, bytes], None]


def request_bytes(server: Server, data: bytes) -> None:
    """Bytes as they come from a socket, whole and in two pieces, which must get the same answers."""
    cut = data[0] * 4 if data else 0
    whole, in_two = server.receive(data[1:]), server.receive(data[1:][:cut], data[1:][cut:])
    # What a client that asks first is told, to go on or that it needn't, depends on what it has sent by then.
    assert whole == in_two or b"expect" in data.lower()


def infer(server: Server, data: bytes) -> None:
    """The JSON of an inference."""
    server.post(f"/v2/models/{_model(data)}/infer", data[1:])


def infer_long(server: Server, data: bytes) -> None:
    """A long list of numbers with something in its midst: judged alike read in slices and read whole."""
    middle, count = data[1:], 1 + data[1:].count(b",")
    before = after = LEAST_BYTES // 2 + 64 * (data[0] if data else 0)
    head = b'{"inputs": [{"name": "x", "shape": [1, %d], "datatype": "FP32", ' % (before + count + after)
    text = b":[" + b"1," * before + middle + b",1" * after + b"]}]}"
    # A list so far behind its key is left where it is.
    keys = (b" " * 40 + b'"data"', b'"data"' + b" " * 40)
    sliced, whole = (server.post("/v2/models/free/infer", head + key + text) for key in keys)
    assert (sliced.status, sliced.body) == (whole.status, whole.body)


def infer_binary(server: Server, data: bytes) -> None:
    """JSON and blobs; the second and third byte are the length that the header gives for the JSON."""
    length = int.from_bytes(data[1:3], "big")
    server.post(f"/v2/models/{_model(data)}/infer", data[3:], b"Inference-Header-Content-Length: %d" % length)


def infer_compressed(server: Server, data: bytes) -> None:
    """A body of a content coding, or of what is none."""
    coding = CODINGS[data[0] % len(CODINGS)] if data else b"gzip"
    server.post("/v2/models/float32/infer", data[1:], b"Content-Encoding: " + coding)


def negotiate(server: Server, data: bytes) -> None:
    """An Accept-Encoding of any visible bytes; what comes back is in a coding that was offered."""
    wish = bytes(byte for byte in data if 32 <= byte < 127)
    body = VALID.partition(b"\r\n\r\n")[2].replace(b"[1, 2]", b"[1000, 2]").replace(b"1.5, -2.0", b"1.5," * 1999 + b"2")
    reply = server.post("/v2/models/float32/infer", body, b"Accept-Encoding: " + wish)
    assert reply.status == 200
    coding = reply.headers.get("content-encoding")
    plain = {None: bytes, "gzip": gzip.decompress, "deflate": zlib.decompress}[coding](reply.body)
    assert coding is None or coding.encode() in wish.lower() or b"*" in wish
    assert len(json.loads(plain)["outputs"][0]["data"]) == 2000


def predict(server: Server, data: bytes) -> None:
    """The body of V1's ``:predict``."""
    server.post(f"/v1/models/{_model(data)}:predict", data[1:])


def generate(server: Server, data: bytes) -> None:
    """The body of ``generate``, and of ``generate_stream`` with a first byte from 128."""
    verb = "generate_stream" if data[:1] >= b"\x80" else "generate"
    server.post(f"/v2/models/{_model(data)}/{verb}", data[1:])


def control(server: Server, data: bytes) -> None:
    """The body of a load, an unload or an index."""
    server.post(CONTROL[(data[0] if data else 0) % len(CONTROL)], data[1:])


def call_infer(server: Server, data: bytes) -> None:
    """A ModelInferRequest."""
    server.call("ModelInfer", data)


def call_control(server: Server, data: bytes) -> None:
    """A message of another method."""
    server.call(METHODS[(data[0] if data else 0) % len(METHODS)], data[1:])


TARGETS: dict[str, Target] = {
    one.__name__: one
    for one in (
        request_bytes,
        infer,
        infer_long,
        infer_binary,
        infer_compressed,
        negotiate,
        predict,
        generate,
        control,
        call_infer,
        call_control,
    )
}


def seeds(name: str) -> list[bytes]:
    """Valid inputs of the target ``name``."""
    return [*_SEEDS[name]()]


DOCUMENTS: dict[str, list[tuple[str, Any]]] = {
    "infer": [
        ("float32", {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, -2.0]}]}),
        (
            "float32",
            {"id": "a", "inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [[1, 2], [3, 4]]}]},
        ),
        ("string", {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "BYTES", "data": ["a", "ä"]}]}),
        ("bool", {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "BOOL", "data": [True, False]}]}),
        ("int8", {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "INT8", "data": [-128, 127]}]}),
        ("uint64", {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "UINT64", "data": [0, (1 << 64) - 1]}]}),
        ("float16", {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP16", "data": [0.1, 65504]}]}),
        ("scalar", {"inputs": [{"name": "x", "shape": [], "datatype": "FP32", "data": [3]}]}),
        (
            "two",
            {
                "inputs": [
                    {"name": name, "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4], "parameters": {"k": 1}}
                    for name in "ab"
                ],
                "outputs": [{"name": "dot", "parameters": {"binary_data": True, "classification": 1}}],
                "parameters": {"priority": 1, "timeout": 10**9, "binary_data_output": False, "receipt": True},
            },
        ),
        (
            "mixed",
            {
                "inputs": [
                    {"name": "age", "shape": [1, 1], "datatype": "FP32", "data": [[30]]},
                    {"name": "visits", "shape": [1, 1], "datatype": "INT64", "data": [2]},
                    {"name": "city", "shape": [1, 1], "datatype": "BYTES", "data": ["Oslo"]},
                ]
            },
        ),
    ],
    "predict": [
        ("float32", {"instances": [[1, 2.5], [3, 4]]}),
        ("float32", {"inputs": {"x": [[1, 2]]}}),
        ("string", {"instances": [["a", {"b64": "aGk="}]]}),
        ("bool", {"inputs": [[True, False]]}),
        ("scalar", {"inputs": 3}),
        ("two", {"instances": [{"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]}]}),
        ("mixed", {"instances": [{"age": [1], "visits": [2], "city": ["Oslo"]}]}),
    ],
    "generate": [
        ("float32", {"x": [1, 2], "parameters": {"priority": 1, "receipt": True}, "id": "q"}),
        ("string", {"x": ["a", "b"], "stream": False}),
        ("scalar", {"x": 3}),
        ("two", {"a": [1, 2, 3, 4], "parameters": {"b": [[1, 2, 3, 4]]}}),
        ("mixed", {"age": 30, "visits": 2, "city": "Oslo"}),
    ],
    "control": [
        ("load", {"versions": [1]}),
        ("load", {"parameters": {"versions": ["1"], "config": '{"version_policy": {"specific": {"versions": [1]}}}'}}),
        ("load", {"parameters": {"config": {"version_policy": {"specific": {"versions": ["1"]}}}, "file:1/m": "aa"}}),
        ("unload", {"parameters": {"unload_dependents": True}}),
        ("index", {"ready": True}),
    ],
}
"""For each target that takes JSON: what is asked, and a valid body."""


def first_byte(name: str, asked: str) -> bytes:
    """What the target ``name`` takes to mean ``asked``."""
    if name == "control":
        return bytes([["load", "unload", "index"].index(asked)])
    return bytes([MODELS.index(asked)])


def tensor_call(
    model: str, item: dict[str, Any], raw: Sequence[bytes] = (), contents: dict[str, Any] | None = None
) -> bytes:
    """A ModelInferRequest with one input."""
    request = INFERENCE["ModelInferRequest"](model_name=model)
    tensor = request.inputs.add(**item)
    request.raw_input_contents.extend(raw)
    for field, values in (contents or {}).items():
        getattr(tensor.contents, field).extend(values)
    data: bytes = request.SerializeToString()
    return data


def _model(data: bytes) -> str:
    return MODELS[(data[0] if data else 0) % len(MODELS)]


def _json_seeds(name: str) -> Callable[[], list[bytes]]:
    return lambda: [first_byte(name, asked) + json.dumps(body).encode() for asked, body in DOCUMENTS[name]]


def _blobs() -> list[bytes]:
    found = []
    for dtype in DTYPES:
        blob = b"\x01\0\0\0a\x02\0\0\0\xc3\xa4" if dtype.value == "string" else np.ones(2, dtype.numpy).tobytes()
        item = {"name": "x", "shape": [1, 2], "datatype": dtype.served, "parameters": {"binary_data_size": len(blob)}}
        text = json.dumps({"inputs": [item], "parameters": {"binary_data_output": True}}).encode()
        found.append(first_byte("infer", dtype.value) + len(text).to_bytes(2, "big") + text + blob)
        if dtype.value != "string":  # of which a bare blob holds one
            found.append(first_byte("infer", dtype.value) + b"\0\0" + blob)
    return found


def _whole_requests() -> list[bytes]:
    chunks = b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\n\r\n"
    chunked = b"POST /v2/models/float32/infer HTTP/1.1\r\nHost: a\r\n" + chunks
    get = b"GET /v2/models/float32 HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip;q=0.5\r\n\r\n"
    old = b"HEAD /v2/health/ready HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    asking = VALID.replace(
        b"Host: test", b"Host: a\r\nExpect: 100-continue\r\nmlserve-unit-key: k\r\nmlserve-receipt: 1"
    )
    faulty = chunked.replace(b"Host: a", b"Host: a\r\nExpect: 100-continue").replace(b";a=b", b";a\0=b")
    return [b"\x20" + one for one in (VALID, VALID + get, chunked, get, old, asking, faulty)]


def _calls() -> list[bytes]:
    item = {"name": "x", "shape": [1, 2]}
    values = {
        "float32": ("FP32", "fp32_contents", [1.0, 2.0]),
        "int8": ("INT8", "int_contents", [1, 2]),
        "uint64": ("UINT64", "uint64_contents", [1, 2]),
        "bool": ("BOOL", "bool_contents", [True, False]),
        "string": ("BYTES", "bytes_contents", [b"a", b"b"]),
    }
    typed = [
        tensor_call(model, item | {"datatype": datatype}, contents={field: data})
        for model, (datatype, field, data) in values.items()
    ]
    raw = [
        tensor_call("float32", item | {"datatype": "FP32"}, [bytes(8)]),
        tensor_call("float16", item | {"datatype": "FP16"}, [bytes(4)]),
        tensor_call("string", item | {"datatype": "BYTES"}, [b"\x01\0\0\0a\x01\0\0\0b"]),
    ]
    return typed + raw


def _control_calls() -> list[bytes]:
    load = INFERENCE["RepositoryModelLoadRequest"](model_name="float32")
    load.parameters["config"].string_param = '{"version_policy": {"specific": {"versions": [1]}}}'
    messages = [
        load,
        INFERENCE["RepositoryModelUnloadRequest"](model_name="float32"),
        INFERENCE["RepositoryIndexRequest"](ready=True),
        INFERENCE["ModelMetadataRequest"](name="float32", version="1"),
        INFERENCE["ModelStatisticsRequest"](name="two"),
    ]
    return [bytes([number]) + one.SerializeToString() for number, one in enumerate(messages)]


def _compressed() -> list[bytes]:
    body = VALID.partition(b"\r\n\r\n")[2]
    return [b"\0" + gzip.compress(body, mtime=0), b"\x01" + zlib.compress(body), b"\x03" + body]


_SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "request_bytes": _whole_requests,
    "infer": _json_seeds("infer"),
    "infer_long": lambda: [b"\0" + middle for middle in (b"2", b"-2.5e3, 0.125", b" 1 ,2", b"NaN")],
    "infer_binary": _blobs,
    "infer_compressed": _compressed,
    "negotiate": lambda: [b"gzip;q=0.5, deflate;q=1, *;q=0", b"identity;q=0.1,*", b"x-gzip"],
    "predict": _json_seeds("predict"),
    "generate": _json_seeds("generate"),
    "control": _json_seeds("control"),
    "call_infer": _calls,
    "call_control": _control_calls,
}
