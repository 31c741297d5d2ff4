"""What one loaded version takes and gives, worked out once, so that a request costs look-ups and no reasoning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import orjson

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.serving.oip.wire import element, request_decoder
from mlserve.serving.seam import ModelView

_REMEMBERED = 256
"""How many frames of answers a plan remembers; a client that sends ever new ones must not fill the memory."""


class InputPlan(NamedTuple):
    """One input: its spec, its datatype in the protocol's words, and the type of one JSON element."""

    spec: TensorSpec
    datatype: str
    kind: Any


@dataclass(slots=True)
class Plan:
    """A version's inputs by name, the decoder that fits them all, and the constant parts of its answers.

    ``is_uniform``: ``decoder`` has checked every element; otherwise the inputs are of several kinds. A plan lies in its
    view's cache and doesn't hold the view: the circle would outlive a swap where the collector does not look any more.
    """

    name: str
    signature: Signature
    inputs: dict[str, InputPlan]
    outputs: frozenset[str]
    decoder: msgspec.json.Decoder[Any]
    is_uniform: bool
    is_numeric: bool
    prefix: bytes
    frames: dict[Any, tuple[bytes, ...]] = field(default_factory=dict)

    def remember(self, key: Any, frame: tuple[bytes, ...]) -> tuple[bytes, ...]:
        if len(self.frames) >= _REMEMBERED:
            self.frames.clear()
        self.frames[key] = frame
        return frame


def plan_of(view: ModelView) -> Plan:
    """The plan of ``view``, made at its first request. Raises Unsupported for types that the protocol does not have."""
    plan: Plan | None = view.cache.get(Plan)
    if plan is None:
        plan = view.cache[Plan] = _make(view)
    return plan


def _make(view: ModelView) -> Plan:
    signature = view.signature
    for output in signature.outputs:
        output.dtype.served  # noqa: B018 - raises Unsupported before anything runs
    inputs = {s.name: InputPlan(s, s.dtype.served, element(s.dtype)) for s in signature.inputs}
    dtypes = [spec.dtype for spec in signature.inputs]
    prefix = orjson.dumps({"model_name": view.name, "model_version": view.version})
    return Plan(
        name=view.name,
        signature=signature,
        inputs=inputs,
        outputs=frozenset(spec.name for spec in signature.outputs),
        decoder=request_decoder(dtypes),
        is_uniform=len({plan.kind for plan in inputs.values()}) == 1,
        is_numeric=not {DType.STRING, DType.BOOL} & set(dtypes),
        prefix=prefix[:-1],
    )
