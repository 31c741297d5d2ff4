"""The ways to quantize a checkpoint, through bitsandbytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlserve.core.refs import did_you_mean
from mlserve.errors import UsageError


@dataclass(frozen=True, slots=True)
class CheckpointMethod:
    """``options`` are transformers' for bitsandbytes; ``dtype`` is what weights that are not quantized are kept in."""

    options: Mapping[str, Any]
    dtype: str


METHODS: Mapping[str, CheckpointMethod] = {
    # LLM.int8() computes in FP16 whatever it is given. Source: Dettmers et al., arXiv 2208.07339.
    "bnb-int8": CheckpointMethod({"load_in_8bit": True}, "float16"),
    # Source: Dettmers et al., QLoRA, arXiv 2305.14314.
    "bnb-nf4": CheckpointMethod(
        {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_compute_dtype": "bfloat16",
            "bnb_4bit_use_double_quant": True,
        },
        "bfloat16",
    ),
}


def method_named(name: str) -> CheckpointMethod:
    """The method called ``name``. Raises UsageError naming the nearest."""
    if name not in METHODS:
        hint = did_you_mean(name, METHODS) or f"there are {', '.join(METHODS)}"
        raise UsageError(f"'{name}' is no method for checkpoint folders", hint=hint)
    return METHODS[name]
