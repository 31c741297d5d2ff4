"""Message classes made from the tables, in a descriptor pool of our own.

Two packages that register ``inference.ModelInferRequest`` in protobuf's one default pool cannot be imported into one
process; in a pool of its own, nobody else sees it. The classes are protobuf's own, as quick as generated ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from mlserve.protocol import tables

PACKAGE = "inference"
SERVICE = "inference.GRPCInferenceService"
HEALTH_SERVICE = "grpc.health.v1.Health"
REFLECTION_SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")

METHODS = tuple(tables.INFERENCE_METHODS.split())
REFUSED = tuple(tables.REFUSED_METHODS.split())
STREAM_METHOD = "ModelStreamInfer"

_SCALARS = ("double", "float", "int64", "uint64", "int32", "bool", "string", "bytes", "uint32")
_CHOICE = "choice"


class Messages:
    """The classes of one package, by their short names: ``messages["ModelInferRequest"]``."""

    def __init__(self, pool: DescriptorPool, package: str) -> None:
        self._pool = pool
        self._package = package

    def __getitem__(self, name: str) -> Any:
        return GetMessageClass(self._pool.FindMessageTypeByName(f"{self._package}.{name}"))


def file_of(
    name: str,
    package: str,
    table: str,
    enums: Mapping[str, str],
    services: Mapping[str, Mapping[str, tuple[str, str, bool]]],
) -> FileDescriptorProto:
    """The file that ``table`` describes.

    ``services`` gives for each method its request, its response, and whether both are streams.
    """
    file = FileDescriptorProto(name=name, package=package, syntax="proto3")
    messages: dict[str, DescriptorProto] = {}
    for line in filter(None, map(str.strip, table.splitlines())):
        path, *fields = line.split()
        outer, _, short = path.rpartition(".")
        message = messages[outer].nested_type.add() if outer else file.message_type.add()
        message.name = short
        messages[path] = message
        for field in fields:
            _add_field(message, f".{package}", path, field, enums)
    for path, values in enums.items():
        outer, _, short = path.rpartition(".")
        enum = messages[outer].enum_type.add() if outer else file.enum_type.add()
        enum.name = short
        for number, value in enumerate(values.split()):
            enum.value.add(name=value, number=number)
    for service, methods in services.items():
        made = file.service.add(name=service)
        for method, (request, response, is_stream) in methods.items():
            made.method.add(
                name=method,
                input_type=f".{package}.{request}",
                output_type=f".{package}.{response}",
                client_streaming=is_stream,
                server_streaming=is_stream or method == "Watch",
            )
    return file


def _add_field(message: DescriptorProto, root: str, path: str, text: str, enums: Mapping[str, str]) -> None:
    name, _, rest = text.partition(":")
    kind, _, number = rest.rpartition("=")
    field = message.field.add(name=name, number=int(number), label=FieldDescriptorProto.LABEL_OPTIONAL)
    if kind.startswith("{"):
        entry = message.nested_type.add(name="".join(part.capitalize() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        for index, part in enumerate(kind.strip("{}").split(","), start=1):
            _add_field(entry, root, f"{path}.{entry.name}", f"{('key', 'value')[index - 1]}:{part}={index}", enums)
        field.label = FieldDescriptorProto.LABEL_REPEATED
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f"{root}.{path}.{entry.name}"
        return
    if kind.startswith("*"):
        field.label = FieldDescriptorProto.LABEL_REPEATED
    if kind.startswith("|"):
        if not message.oneof_decl:
            message.oneof_decl.add(name=_CHOICE)
        field.oneof_index = 0
    kind = kind.lstrip("*|")
    if kind in _SCALARS:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    else:
        field.type = FieldDescriptorProto.TYPE_ENUM if kind in enums else FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f"{root}.{kind}"


def _inference_methods() -> dict[str, tuple[str, str, bool]]:
    methods = {name: (f"{name}Request", f"{name}Response", False) for name in METHODS}
    methods[STREAM_METHOD] = ("ModelInferRequest", "ModelStreamInferResponse", True)
    return methods


def _files() -> dict[str, FileDescriptorProto]:
    stream = {"ServerReflectionInfo": ("ServerReflectionRequest", "ServerReflectionResponse", True)}
    health = {
        "Check": ("HealthCheckRequest", "HealthCheckResponse", False),
        "Watch": ("HealthCheckRequest", "HealthCheckResponse", False),
        "List": ("HealthListRequest", "HealthListResponse", False),
    }
    files = [
        file_of(
            "mlserve/inference.proto",
            PACKAGE,
            tables.INFERENCE,
            tables.INFERENCE_ENUMS,
            {"GRPCInferenceService": _inference_methods()},
        ),
        file_of("mlserve/health.proto", "grpc.health.v1", tables.HEALTH, tables.HEALTH_ENUMS, {"Health": health}),
    ]
    for service in REFLECTION_SERVICES:
        package = service.rpartition(".")[0]
        name = f"mlserve/reflection_{package.rpartition('.')[2]}.proto"
        files.append(file_of(name, package, tables.REFLECTION, {}, {"ServerReflection": stream}))
    return {file.name: file for file in files}


FILES = _files()
"""The file descriptors by name, as reflection gives them out."""

_POOL = DescriptorPool()
for _file in FILES.values():
    _POOL.AddSerializedFile(_file.SerializeToString())

INFERENCE = Messages(_POOL, PACKAGE)
HEALTH = Messages(_POOL, "grpc.health.v1")
REFLECTION = {service: Messages(_POOL, service.rpartition(".")[0]) for service in REFLECTION_SERVICES}

InferRequestMessage = INFERENCE["ModelInferRequest"]
InferResponseMessage = INFERENCE["ModelInferResponse"]
StreamResponseMessage = INFERENCE["ModelStreamInferResponse"]


def file_with(symbol: str) -> FileDescriptorProto | None:
    """The file that defines a message, service or method by its full name, None where no file does."""
    for file in FILES.values():
        services = [f"{file.package}.{service.name}" for service in file.service]
        methods = [f"{file.package}.{one.name}.{method.name}" for one in file.service for method in one.method]
        if symbol in (*services, *methods):
            return file
    try:
        found = _POOL.FindFileContainingSymbol(symbol)
    except KeyError:
        return None
    return FILES.get(found.name)
