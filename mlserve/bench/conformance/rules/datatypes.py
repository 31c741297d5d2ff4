"""Each datatype of the protocol, as JSON and as bytes, on whichever model takes it."""

from __future__ import annotations

from collections.abc import Callable

from mlserve.bench.conformance.probe import Probe, same
from mlserve.bench.conformance.tensors import binary_request, json_input
from mlserve.bench.conformance.verdicts import Book, Level

book = Book("datatypes")
binary_book = Book("datatypes", extension="binary_tensor_data")

DATATYPES = tuple(
    "BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 FP32 FP64 BF16 BYTES".split()  # noqa: SIM905
)
ONLY_BINARY = ("FP16", "BF16")
"""Datatypes that JSON need not carry: the protocol's servers may refuse them there."""


def _as_json(datatype: str) -> Callable[[Probe], None]:
    def check(probe: Probe) -> None:
        model, _ = probe.taking(datatype)
        tensors = model.rows(2 if model.is_batchable else 1)
        flat = probe.answer(model, {"inputs": [json_input(tensor) for tensor in tensors]})
        nested = probe.answer(model, {"inputs": [json_input(tensor, data=tensor.nested()) for tensor in tensors]})
        same(flat, nested, "flat and nested data differ")

    return check


def _as_bytes(datatype: str) -> Callable[[Probe], None]:
    def check(probe: Probe) -> None:
        model, _ = probe.taking(datatype)
        tensors = model.rows(2 if model.is_batchable else 1)
        request = binary_request(tensors, parameters={"binary_data_output": True})
        in_bytes = probe.answer(model, *request)
        if datatype in ONLY_BINARY:
            same(in_bytes, probe.answer(model, *request), "two answers")
        else:
            same(in_bytes, probe.answer(model, {"inputs": list(map(json_input, tensors))}), "bytes and JSON differ")

    return check


for _datatype in DATATYPES:
    book.add(
        f"{_datatype.lower()}-as-json",
        Level.SHOULD if _datatype in ONLY_BINARY else Level.MUST,
        f"{_datatype} is taken and given as JSON",
        _as_json(_datatype),
    )
    binary_book.add(
        f"{_datatype.lower()}-as-bytes",
        Level.EXTENSION,
        f"{_datatype} is taken and given as bytes, the same as in JSON",
        _as_bytes(_datatype),
    )
