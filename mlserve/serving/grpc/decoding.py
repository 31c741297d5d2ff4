"""A ``ModelInferRequest`` in bytes → the seam's request. Raw tensors are views of the message, not copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from google.protobuf.message import DecodeError

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput, Unsupported
from mlserve.protocol.messages import InferRequestMessage
from mlserve.serving.oip.blobs import array_of
from mlserve.serving.oip.classification import read_count
from mlserve.serving.oip.parameters import apply_parameters
from mlserve.serving.oip.plans import InputPlan, Plan, plan_of
from mlserve.serving.oip.wire import Parameter
from mlserve.serving.seam import Engine, InferRequest, InputTensor, ModelView

CONTENTS = {
    DType.BOOL: "bool_contents",
    DType.INT8: "int_contents",
    DType.INT16: "int_contents",
    DType.INT32: "int_contents",
    DType.INT64: "int64_contents",
    DType.UINT8: "uint_contents",
    DType.UINT16: "uint_contents",
    DType.UINT32: "uint_contents",
    DType.UINT64: "uint64_contents",
    DType.FLOAT32: "fp32_contents",
    DType.FLOAT64: "fp64_contents",
    DType.STRING: "bytes_contents",
}
"""Where the values of each type lie in typed contents; 16-bit floats have no place there."""

_MAX_VERSION_DIGITS = 18
EMPTY_FINAL = "triton_enable_empty_final_response"


class DecodedCall(msgspec.Struct, gc=False):
    """A request, the client's id ("" for none), outputs wanted as classes, and what else was asked for."""

    request: InferRequest
    id: str
    classes: dict[str, int] | None
    wants_receipt: bool
    wants_empty_final: bool


def parse(data: bytes) -> Any:
    """The message in ``data``. Raises InvalidInput."""
    try:
        return InferRequestMessage.FromString(data)
    except DecodeError as error:
        raise InvalidInput("the message is no ModelInferRequest") from error


def decode_infer(engine: Engine, message: Any, clock: Callable[[], float]) -> DecodedCall:
    """The request in ``message``; ``clock`` is what a ``timeout`` parameter counts from, in seconds.

    Raises NotFound, Unavailable, Overloaded, InvalidInput, Unsupported.
    """
    version = version_of(message.model_version)
    view = engine.expect(message.model_name, version)
    if view.name != message.model_name:  # NAME@STAGE, which means the version that stands there
        version = int(view.version)
    request = InferRequest(view.name, version, _inputs(message, plan_of(view)))
    classes = _outputs(message, request, view) if message.outputs else None
    wants_receipt = wants_empty_final = False
    if message.parameters:
        parameters = values_of(message.parameters)
        wants_empty_final = bool(parameters.pop(EMPTY_FINAL, False))
        wants_receipt = apply_parameters(request, parameters, clock)
    return DecodedCall(request, message.id, classes, wants_receipt, wants_empty_final)


def version_of(text: str) -> int | None:
    """A version as the protocol writes it, None for "". Raises InvalidInput.

    >>> version_of("7"), version_of("")
    (7, None)
    """
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_VERSION_DIGITS):
        raise InvalidInput(f"version '{text}' is no number")
    return int(text)


def values_of(parameters: Mapping[str, Any]) -> dict[str, Parameter]:
    """Parameters as Python values; one without a value is left out."""
    values: dict[str, Parameter] = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("choice")
        if choice is not None:
            values[name] = getattr(parameter, choice)
    return values


def _inputs(message: Any, plan: Plan) -> list[InputTensor]:
    raw = message.raw_input_contents
    inputs: list[InputTensor] = []
    for number, item in enumerate(message.inputs):
        known = plan.inputs.get(item.name)
        if known is None:
            plan.signature.input(item.name)  # raises with the nearest name
            raise AssertionError(item.name)
        spec, datatype, _ = known
        if item.datatype != datatype:
            raise InvalidInput(f"input '{item.name}' is {datatype}, not '{item.datatype}'")
        shape = tuple(item.shape)
        if shape and min(shape) < 0:
            raise InvalidInput(f"input '{item.name}' has shape {list(shape)}")
        if item.parameters and "shared_memory_region" in item.parameters:
            raise Unsupported(f"input '{item.name}' lies in shared memory, which is not offered")
        if raw:
            if item.HasField("contents"):
                raise InvalidInput(f"input '{item.name}' has both contents and raw_input_contents")
            if number >= len(raw):
                raise InvalidInput(f"unable to find data for input '{item.name}': {len(raw)} raw contents were sent")
            inputs.append(InputTensor(spec.name, spec.dtype, shape, array_of(memoryview(raw[number]), spec, shape)))
        else:
            inputs.append(InputTensor(spec.name, spec.dtype, shape, _typed(item, known)))
    if len(raw) > len(message.inputs):
        raise InvalidInput(f"{len(raw)} raw contents were sent for {len(message.inputs)} inputs")
    return inputs


def _typed(item: Any, plan: InputPlan) -> list[Any]:
    field = CONTENTS.get(plan.spec.dtype)
    if field is None:
        raise InvalidInput(f"input '{item.name}' is {plan.datatype}, which can only be sent as raw contents")
    if not item.HasField("contents") and 0 not in item.shape:
        raise InvalidInput(f"unable to find data for input '{item.name}'")
    for other, _ in item.contents.ListFields():
        if other.name != field:
            raise InvalidInput(
                f"contents of input '{item.name}' are in {other.name}; those of {plan.datatype} are {field}"
            )
    values = list(getattr(item.contents, field))
    if plan.spec.dtype is not DType.STRING:
        return values
    try:
        return [value.decode("utf-8") for value in values]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"a value of input '{item.name}' is not UTF-8") from error


def _outputs(message: Any, request: InferRequest, view: ModelView) -> dict[str, int] | None:
    names: list[str] = []
    classes: dict[str, int] = {}
    for output in message.outputs:
        spec = view.signature.output(output.name)
        if output.name in names:
            raise InvalidInput(f"output '{output.name}' comes twice")
        names.append(output.name)
        if output.parameters:
            wishes = values_of(output.parameters)
            if "shared_memory_region" in wishes:
                raise Unsupported(f"output '{output.name}' shall go to shared memory, which is not offered")
            count = read_count(wishes, spec)
            if count is not None:
                classes[output.name] = count
    request.outputs = tuple(names)
    return classes or None
