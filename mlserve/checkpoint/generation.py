"""What a served language model takes and gives, the same for every checkpoint; and how one asks for an answer.

Names as Triton's backends for language models have them: ``text_input`` in, ``text_output`` out, the rest as request
parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import InvalidInput

KIND = "transformers"
"""What the registry calls a version that is a checkpoint, and the protocol its platform."""

TEXT_INPUT = "text_input"
TEXT_OUTPUT = "text_output"
FINISH_REASON = "finish_reason"
INPUT_TOKENS = "input_tokens"
OUTPUT_TOKENS = "output_tokens"

SIGNATURE = Signature(
    (TensorSpec(TEXT_INPUT, DType.STRING, ("batch",)),),
    (
        TensorSpec(TEXT_OUTPUT, DType.STRING, ("batch",)),
        TensorSpec(FINISH_REASON, DType.STRING, ("batch",)),
        TensorSpec(INPUT_TOKENS, DType.INT32, ("batch",)),
        TensorSpec(OUTPUT_TOKENS, DType.INT32, ("batch",)),
    ),
)

MAX_TOKENS = 1 << 20
LARGEST_SEED = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Wish:
    """How a text is to be continued. ``temperature`` 0 takes the likeliest token; ``seed`` None draws as it comes.

    ``echoes`` asks for the prompt in front of its continuation.
    """

    max_tokens: int = 16
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    echoes: bool = False


USUAL = Wish()


def read_wish(parameters: Mapping[str, object] | None) -> Wish:
    """What a request's ``parameters`` ask for; other names mean nothing here. Raises InvalidInput.

    >>> read_wish({"max_tokens": 5, "temperature": 0.7, "seed": 1})
    Wish(max_tokens=5, temperature=0.7, top_p=1.0, seed=1, echoes=False)
    """
    if not parameters:
        return USUAL
    excludes = parameters.get("exclude_input_in_output", True)
    if not isinstance(excludes, bool):
        raise InvalidInput(f"exclude_input_in_output is {excludes!r}, not true or false")
    top_p = _number(parameters, "top_p", 1.0, most=1.0)
    if top_p == 0.0:
        raise InvalidInput("top_p is 0, which leaves no token to draw")
    max_tokens = _count(parameters, ("max_tokens", "max_new_tokens"), 1, MAX_TOKENS)
    return Wish(
        max_tokens=USUAL.max_tokens if max_tokens is None else max_tokens,
        temperature=_number(parameters, "temperature", 0.0, most=100.0),
        top_p=top_p,
        seed=_count(parameters, ("seed", "random_seed"), 0, LARGEST_SEED),
        echoes=not excludes,
    )


def _count(parameters: Mapping[str, object], names: tuple[str, ...], least: int, most: int) -> int | None:
    """The first of ``names`` that is given, a whole number from ``least`` to ``most``."""
    for name in names:
        value = parameters.get(name)
        if value is None:
            continue
        if type(value) is not int or not least <= value <= most:
            raise InvalidInput(f"{name} is {value!r}, not a whole number from {least} to {most}")
        return value
    return None


def _number(parameters: Mapping[str, object], name: str, usual: float, *, most: float) -> float:
    value = parameters.get(name, usual)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0.0 <= value <= most:
        raise InvalidInput(f"{name} is {value!r}, not a number from 0 to {most:g}")
    return float(value)
