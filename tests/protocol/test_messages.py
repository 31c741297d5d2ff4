"""Our messages are those that Triton's own client has, field by field, and stand beside them in one process."""

from __future__ import annotations

import doctest
from typing import Any

import pytest
import tritonclient.grpc.model_config_pb2 as their_config
import tritonclient.grpc.service_pb2 as theirs

from mlserve.protocol import messages, wire
from mlserve.protocol.messages import FILES, HEALTH, INFERENCE, REFLECTION, REFLECTION_SERVICES, file_with

OURS_ALONE = {("ModelMetadataResponse", "properties")}
"""Fields of the Open Inference Protocol that Triton's messages do not have."""


def all_messages() -> list[str]:
    def below(message: Any, prefix: str) -> list[str]:
        nested = [name for one in message.nested_type for name in below(one, f"{prefix}{message.name}.")]
        is_map = message.options.map_entry
        return ([] if is_map else [prefix + message.name]) + nested

    file = FILES["mlserve/inference.proto"]
    return [name for message in file.message_type for name in below(message, "")]


def their(name: str) -> Any:
    for module in (theirs, their_config):
        outer, *inner = name.split(".")
        found = module.DESCRIPTOR.message_types_by_name.get(outer)
        for step in inner:
            found = found and found.nested_types_by_name[step]
        if found is not None:
            return found
    raise AssertionError(f"Triton has no message {name}")


@pytest.mark.parametrize("name", all_messages())
def test_each_field_has_tritons_number_and_type(name: str) -> None:
    ours = INFERENCE[name].DESCRIPTOR

    for field in ours.fields:
        if (name, field.name) in OURS_ALONE:
            continue
        expected = their(name).fields_by_name[field.name]
        assert (field.number, field.type, field.is_repeated) == (expected.number, expected.type, expected.is_repeated)
        if field.message_type is not None:
            assert field.message_type.full_name == expected.message_type.full_name
        if field.enum_type is not None:
            names = {value.name: value.number for value in expected.enum_type.values}
            assert names == {value.name: value.number for value in field.enum_type.values}


def test_a_message_of_ours_is_read_by_theirs() -> None:
    message = INFERENCE["ModelInferRequest"](model_name="m", id="7")
    message.parameters["priority"].uint64_param = 3
    message.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    message.raw_input_contents.append(b"12345678")

    found = theirs.ModelInferRequest.FromString(message.SerializeToString())

    assert (found.model_name, found.id, list(found.inputs[0].shape)) == ("m", "7", [1, 2])
    assert found.parameters["priority"].uint64_param == 3


def test_a_configuration_can_be_made_of_plain_values() -> None:
    message = INFERENCE["ModelConfigResponse"](
        config={
            "name": "m",
            "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1]}],
            "instance_group": [{"kind": "KIND_CPU"}],
            "dynamic_batching": {},
        }
    )

    found = theirs.ModelConfigResponse.FromString(message.SerializeToString()).config

    assert found.input[0].data_type == their_config.TYPE_FP32
    assert found.HasField("dynamic_batching")


@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        ("inference.GRPCInferenceService", "mlserve/inference.proto"),
        ("inference.GRPCInferenceService.ModelInfer", "mlserve/inference.proto"),
        ("inference.ModelInferRequest.InferInputTensor", "mlserve/inference.proto"),
        ("grpc.health.v1.Health", "mlserve/health.proto"),
        ("inference.Nothing", None),
    ],
)
def test_symbols_are_found_in_their_files(symbol: str, file: str | None) -> None:
    found = file_with(symbol)

    assert (found and found.name) == file


def test_every_service_has_its_messages() -> None:
    assert HEALTH["HealthCheckResponse"](status=1).SerializeToString() == b"\x08\x01"
    for service in REFLECTION_SERVICES:
        assert REFLECTION[service]["ServerReflectionRequest"](list_services="*").SerializeToString() == b":\x01*"


def test_the_examples_in_the_code_hold() -> None:
    for module in (messages, wire):
        assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 1 << 31, (1 << 63) - 1])
def test_a_varint_is_protobufs_own(number: int) -> None:
    message = INFERENCE["StatisticDuration"](count=number)

    assert message.SerializeToString() == (b"\x08" + wire.varint(number) if number else b"")
