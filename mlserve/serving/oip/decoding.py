"""A request's body → the seam's ``InferRequest``, its values of the types that the version's signature says.

Everything that bytes can get wrong is refused here; whether all inputs are there, and in shapes that the model takes,
is the engine's check, the same for every protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from time import monotonic
from typing import Any

import msgspec
import numpy as np

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput, Unsupported
from mlserve.serving.oip.blobs import array_of, implied_shape, shaped
from mlserve.serving.oip.classification import read_count
from mlserve.serving.oip.leniently import LARGE_BYTES, flatten, read_request, try_read_large
from mlserve.serving.oip.nesting import check_depth
from mlserve.serving.oip.parameters import apply_parameters, read_flag
from mlserve.serving.oip.plans import Plan, plan_of
from mlserve.serving.oip.wire import AnyInput, AnyOutput, AnyRequest, Parameter
from mlserve.serving.seam import InferRequest, InputTensor, ModelView

MAX_JSON_DEPTH = 100
_NOTHING = memoryview(b"")


class Wish(msgspec.Struct, gc=False):
    """How the answer shall be written: every output as a blob unless ``binary`` names those that shall be.

    ``classes`` are outputs of which only so many best classes shall come.
    """

    all_binary: bool
    binary: frozenset[str]
    classes: dict[str, int] | None = None


class Decoded(msgspec.Struct, gc=False):
    """A request, the id to give back (None: none was sent), and the wish for blobs (None: plain JSON throughout).

    ``wants_receipt``: how long each part took shall be told with the answer.
    """

    request: InferRequest
    id: str | None
    wish: Wish | None
    wants_receipt: bool = False


ALL_BINARY = Wish(True, frozenset())


def decode_infer(
    view: ModelView,
    version: int | None,
    body: bytes,
    json_bytes: int | None = None,
    max_depth: int = MAX_JSON_DEPTH,
    clock: Callable[[], float] = monotonic,
) -> Decoded:
    """The request in ``body``, for the version ``view``; ``version`` is what the client asked for.

    ``json_bytes`` is the length of the JSON before the blobs: None if all is JSON, 0 if the body is one bare tensor.
    ``clock`` is what a ``timeout`` parameter (µs) counts from, in seconds. Raises InvalidInput, Unsupported.
    """
    plan = plan_of(view)
    text, blobs = body, _NOTHING
    if json_bytes is not None:
        if json_bytes == 0:
            return _raw_binary(plan, version, body)
        if json_bytes > len(body):
            raise InvalidInput(f"the inference header has {json_bytes} bytes, the body only {len(body)}")
        text, blobs = body[:json_bytes], memoryview(body)[json_bytes:]
    wire: AnyRequest
    is_checked = False
    if plan.is_uniform and len(text) < LARGE_BYTES:
        try:
            wire, is_checked = plan.decoder.decode(text), True
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            wire = read_request(text, max_depth)
    else:
        wire, is_checked = _read_carefully(text, plan, max_depth)
    request = InferRequest(view.name, version, _inputs(wire, plan, blobs, is_checked))
    wish, wants_receipt = None, False
    if wire.outputs is not None or wire.parameters is not None:
        parameters = wire.parameters or {}
        request.outputs, wish = _wishes(wire.outputs or (), parameters, view)
        wants_receipt = apply_parameters(request, parameters, clock)
    return Decoded(request, wire.id, wish, wants_receipt)


def _read_carefully(text: bytes, plan: Plan, max_depth: int) -> tuple[AnyRequest, bool]:
    """A large request, or one with inputs of several kinds; and whether every element of its data is checked."""
    if len(text) >= LARGE_BYTES and plan.is_numeric:
        large = try_read_large(text, plan, max_depth)
        if large is not None:
            return large, False
    if not plan.is_uniform:
        check_depth(text, max_depth)
    try:
        return plan.decoder.decode(text), plan.is_uniform
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return read_request(text, max_depth), False


def _inputs(wire: AnyRequest, plan: Plan, blobs: memoryview, is_checked: bool) -> list[InputTensor]:
    inputs: list[InputTensor] = []
    at = 0
    for item in wire.inputs:
        name = item.name
        known = plan.inputs.get(name)
        if known is None:
            plan.signature.input(name)  # raises with the nearest name
            raise AssertionError(name)
        spec, datatype, _ = known
        if item.datatype != datatype:
            raise InvalidInput(f"input '{name}' is {datatype}, not '{item.datatype}'")
        shape = tuple(item.shape)
        values: Any = item.data
        if values is None or item.parameters:
            blob = _blob(item, blobs, at)
            if blob is not None:
                at += len(blob)
                inputs.append(InputTensor(name, spec.dtype, shape, array_of(blob, spec, shape)))
                continue
        if not is_checked:
            is_array = isinstance(values, np.ndarray)
            values = _shaped(values, shape, name) if is_array else flatten(values, shape, known)
        inputs.append(InputTensor(name, spec.dtype, shape, values))
    if at != len(blobs):
        raise InvalidInput(f"{len(blobs) - at} bytes of data belong to no input")
    return inputs


def _blob(item: AnyInput, blobs: memoryview, at: int) -> memoryview | None:
    """The bytes of an input that comes as a blob, or None where it comes as ``data``."""
    parameters = item.parameters or {}
    if "shared_memory_region" in parameters:
        raise Unsupported(f"input '{item.name}' lies in shared memory, which is not offered")
    size = parameters.get("binary_data_size")
    if size is None:
        if item.data is None:
            raise InvalidInput(f"input '{item.name}' has neither data nor binary_data_size")
        return None
    if item.data is not None:
        raise InvalidInput(f"input '{item.name}' has both data and binary_data_size")
    if type(size) is not int or size < 0:
        raise InvalidInput(f"binary_data_size of input '{item.name}' is {size!r}, not a count of bytes")
    if size > len(blobs) - at:
        raise InvalidInput(f"input '{item.name}' needs {size} bytes of data, only {len(blobs) - at} are left")
    return blobs[at : at + size]


def _shaped(values: np.ndarray[Any, Any], shape: tuple[int, ...], name: str) -> np.ndarray[Any, Any]:
    if values.size != prod(shape):
        raise InvalidInput(f"input '{name}' has {values.size} values, its shape {list(shape)} needs {prod(shape)}")
    return shaped(values, shape, name)


def _wishes(
    outputs: list[AnyOutput] | list[Any] | tuple[()], parameters: dict[str, Parameter], view: ModelView
) -> tuple[tuple[str, ...] | None, Wish | None]:
    default = read_flag(parameters, "binary_data_output", "the request") or False
    if not outputs:
        return None, ALL_BINARY if default else None
    binary: set[str] = set()
    names: list[str] = []
    classes: dict[str, int] = {}
    for output in outputs:
        spec = view.signature.output(output.name)
        if output.name in names:
            raise InvalidInput(f"output '{output.name}' comes twice")
        names.append(output.name)
        wishes = output.parameters or {}
        if "shared_memory_region" in wishes:
            raise Unsupported(f"output '{output.name}' shall go to shared memory, which is not offered")
        count = read_count(wishes, spec)
        if count is not None:
            classes[output.name] = count
        wanted = read_flag(wishes, "binary_data", f"output '{output.name}'")
        if default if wanted is None else wanted:
            binary.add(output.name)
    return tuple(names), Wish(False, frozenset(binary), classes or None) if binary or classes else None


def _raw_binary(plan: Plan, version: int | None, body: bytes) -> Decoded:
    """A body that is nothing but one tensor; its answer is nothing but blobs."""
    if len(plan.inputs) != 1:
        raise InvalidInput(f"a raw-binary request needs a model of one input, this one has {len(plan.inputs)}")
    (known,) = plan.inputs.values()
    shape = implied_shape(known.spec, len(body))
    blob: bytes | memoryview = body
    if known.spec.dtype is DType.STRING:
        # The one string comes bare, without a length before it.
        blob = len(body).to_bytes(4, "little") + body
    array = array_of(memoryview(blob), known.spec, shape)
    tensor = InputTensor(known.spec.name, known.spec.dtype, shape, array)
    return Decoded(InferRequest(plan.name, version, [tensor]), None, ALL_BINARY)
