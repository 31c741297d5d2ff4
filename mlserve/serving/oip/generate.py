"""The generate extension: named values in, named values out, one answer or a stream of them.

Each field whose name is an input of the model becomes that tensor: a single value is a batch of one. Everything under
``parameters``, and fields that are no input, are request parameters. Source: Triton's generate extension.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import orjson

from mlserve.errors import InvalidInput
from mlserve.serving.oip.decoding import Decoded
from mlserve.serving.oip.encoding import text_of
from mlserve.serving.oip.leniently import flatten, is_text, read_json
from mlserve.serving.oip.parameters import apply_parameters
from mlserve.serving.oip.plans import InputPlan, plan_of
from mlserve.serving.seam import Answer, InferRequest, InputTensor, ModelView


def decode_generate(
    view: ModelView, version: int | None, body: bytes, max_depth: int, clock: Callable[[], float]
) -> Decoded:
    """The request in ``body``, its id if it has one, and whether it asks for a receipt.

    Raises InvalidInput, Unsupported.
    """
    document = read_json(body, max_depth)
    if not isinstance(document, dict):
        raise InvalidInput("the body is no object of inputs and parameters")
    plans = plan_of(view).inputs
    nested = document.get("parameters", {})
    if not isinstance(nested, dict):
        raise InvalidInput("parameters is no object")
    inputs = {name: value for name, value in (nested | document).items() if name in plans}
    others = {name: value for name, value in (document | nested).items() if name not in plans}
    request = InferRequest(view.name, version, [_tensor(plans[name], value) for name, value in inputs.items()])
    scalars = {name: value for name, value in others.items() if isinstance(value, bool | int | float | str)}
    wants_receipt = apply_parameters(request, scalars, clock)
    given = document.get("id")
    if isinstance(given, str) and not is_text(given):
        raise InvalidInput("the id is no Unicode text")
    return Decoded(request, given if isinstance(given, str) else None, None, wants_receipt)


def encode_generated(answer: Answer) -> bytes:
    """The body for one answer: each output by name, a single value bare; what is not finite is a bare token."""
    members = [orjson.dumps({"model_name": answer.model, "model_version": answer.version})[1:-1]]
    for tensor in answer.outputs:
        text = text_of(tensor)
        members.append(b"%b:%b" % (orjson.dumps(tensor.name), text if prod(tensor.shape) == 1 else b"[%b]" % text))
    return b"{%b}" % b",".join(members)


def _tensor(plan: InputPlan, value: Any) -> InputTensor:
    spec = plan.spec
    values = value if isinstance(value, list) else [value]
    free = [axis for axis, dim in enumerate(spec.dims) if not isinstance(dim, int)]
    shape = [dim if isinstance(dim, int) else 1 for dim in spec.dims]
    flat = _flat(values)
    if free:
        # The last free axis takes what the others leave; a batch is one row unless it is the only free axis.
        others = 1
        for axis, length in enumerate(shape):
            others *= 1 if axis == free[-1] else length
        shape[free[-1]] = len(flat) // max(1, others)
    return InputTensor(spec.name, spec.dtype, tuple(shape), flatten(flat, shape, plan))


def _flat(values: list[Any]) -> list[Any]:
    flat: list[Any] = []
    for value in values:
        flat += _flat(value) if isinstance(value, list) else [value]
    return flat
