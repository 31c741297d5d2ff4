"""Whatever comes, over either protocol: an answer or a refusal of ours, and the next valid request is answered."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
from mlserve.serving.grpc.decoding import CONTENTS
from tests.serving.fuzzing.server import DTYPES, Aborted, Server
from tests.serving.fuzzing.targets import DOCUMENTS, MODELS, TARGETS, first_byte, seeds, tensor_call


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([1 << 31, 1 << 63, -(1 << 63) - 1, 1 << 64, 10**400])
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["\ud800", "\0", "x", "a", "FP32", "b64", "1"])
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["x", "a", "b64", "data", "shape", "parameters", "versions"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to each value in ``document``, but that to itself."""
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [found for key, value in inner for found in ((*path, key), *places(value, (*path, key)))]


@st.composite
def nearly_valid(draw: st.DrawFn, name: str) -> bytes:
    """A valid body of the target ``name`` in which something was put in the place of one or two values."""
    asked, valid = draw(st.sampled_from(DOCUMENTS[name]))
    document = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 2))):
        paths = places(document)
        if not paths:
            break
        *way, last = draw(st.sampled_from(paths))
        inner = document
        for key in way:
            inner = inner[key]
        if draw(st.booleans()) or not isinstance(inner, dict):
            inner[last] = draw(anything)
        else:
            del inner[last]
    return first_byte(name, asked) + json.dumps(document).encode()


@st.composite
def damaged(draw: st.DrawFn, name: str) -> bytes:
    """A valid input of the target ``name`` with bytes overwritten, cut out, or put in."""
    data = bytearray(draw(st.sampled_from(seeds(name))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 6))] = draw(st.binary(max_size=6))
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_answered_and_not_refused(server: Server, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    for way in ("post", "call"):
        really = getattr(server, way)
        monkeypatch.setattr(server, way, lambda *args, really=really: said.append(really(*args)) or said[-1])

    for seed in seeds(name):
        TARGETS[name](server, seed)

    refused = [one for one in said if isinstance(one, Aborted) or getattr(one, "status", 200) >= 400]
    assert not [one for one in refused if getattr(one, "status", 0) != 501], refused


@pytest.mark.parametrize("name", DOCUMENTS)
def test_anything_in_the_place_of_a_value_is_answered_or_refused(server: Server, name: str) -> None:
    @given(nearly_valid(name))
    def holds(data: bytes) -> None:
        TARGETS[name](server, data)

    holds()


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_requests_are_answered_or_refused(server: Server, name: str) -> None:
    @given(damaged(name) | st.binary(max_size=60))
    def holds(data: bytes) -> None:
        TARGETS[name](server, data)

    holds()


lengths = st.integers(-2, 300) | st.sampled_from([1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, 1 << 64, 10**18, 10**30])


@given(
    header=lengths | st.sampled_from(["+1", "0x10", "1_0", "١", "", "1,1"]),
    size=lengths | scalars,
    element=st.integers(0, (1 << 32) - 1),
    model=st.sampled_from(["free", *DTYPES]),
    shape=st.lists(st.integers(0, 3) | st.sampled_from([1 << 31, 1 << 62, 1 << 63]), max_size=3),
    axes=st.sampled_from([0, 0, 0, 40, 70]),
    blob=st.binary(max_size=40),
    is_right=st.booleans(),
)
def test_hostile_lengths_are_refused(
    server: Server,
    header: Any,
    size: Any,
    element: int,
    model: str,
    shape: list[int],
    axes: int,
    blob: bytes,
    is_right: bool,
) -> None:
    shape += [1] * axes
    blob = element.to_bytes(4, "little") + blob
    item = {
        "name": "x",
        "shape": shape,
        "datatype": "FP32" if model == "free" else DType(model).served,
        "parameters": {"binary_data_size": size},
    }
    text = json.dumps({"inputs": [item], "parameters": {"binary_data_output": True}}).encode()
    length = len(text) if is_right else header

    reply = server.post(f"/v2/models/{model}/infer", text + blob, f"Inference-Header-Content-Length: {length}".encode())

    assert reply.status in (200, 400, 413)


NUMBERS = {
    "bool_contents": st.booleans(), "int_contents": st.integers(-(1 << 31), (1 << 31) - 1),
    "int64_contents": st.integers(-(1 << 63), (1 << 63) - 1), "uint_contents": st.integers(0, (1 << 32) - 1),
    "uint64_contents": st.integers(0, (1 << 64) - 1), "fp32_contents": st.floats(width=32),
    "fp64_contents": st.floats(), "bytes_contents": st.binary(max_size=4),
}  # fmt: skip


@given(
    model=st.sampled_from(MODELS),
    datatype=st.sampled_from([dtype.served for dtype in DTYPES]) | st.text(max_size=4),
    shape=st.lists(st.integers(-1, 3) | st.sampled_from([1 << 31, 1 << 62, (1 << 63) - 1]), max_size=3)
    | st.just([1, 2]),
    raw=st.lists(st.just(b"") | st.binary(max_size=20), max_size=2),
    contents=st.dictionaries(st.sampled_from(list(NUMBERS)), st.just(None), max_size=2),
    values=st.data(),
)
def test_tensors_of_wrong_sizes_and_types_are_refused(
    server: Server, model: str, datatype: str, shape: list[int], raw: list[bytes], contents: Any, values: st.DataObject
) -> None:
    typed = {field: values.draw(st.lists(NUMBERS[field], max_size=3)) for field in contents}

    server.call("ModelInfer", tensor_call(model, {"name": "x", "datatype": datatype, "shape": shape}, raw, typed))


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype in CONTENTS], ids=str)
@pytest.mark.parametrize("field", NUMBERS)
def test_typed_contents_are_taken_from_their_own_field_only(server: Server, dtype: DType, field: str) -> None:
    one: Any = b"a" if field == "bytes_contents" else 1

    said = server.call(
        "ModelInfer",
        tensor_call(
            dtype.value, {"name": "x", "datatype": dtype.served, "shape": [1, 2]}, contents={field: [one, one]}
        ),
    )

    assert isinstance(said, bytes) == (CONTENTS[dtype] == field)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("more", [-1, 1, 8])
def test_raw_contents_of_another_size_are_refused(server: Server, dtype: DType, more: int) -> None:
    right = b"\x01\0\0\0a" * 2 if dtype is DType.STRING else np.ones(2, dtype.numpy).tobytes()
    item = {"name": "x", "datatype": dtype.served, "shape": [1, 2]}

    assert isinstance(server.call("ModelInfer", tensor_call(dtype.value, item, [right])), bytes)
    said = server.call("ModelInfer", tensor_call(dtype.value, item, [(right + bytes(8))[: len(right) + more]]))

    assert isinstance(said, Aborted)
