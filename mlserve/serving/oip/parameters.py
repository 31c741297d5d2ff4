"""What a request's own parameters ask for, the same for every front end: deadline, priority, arm, and what is refused.

Sources: Triton's extensions for schedule policy (``priority``, ``timeout``) and sequences (``sequence_*``), and its
parameters extension, which keeps names beginning with ``triton_`` for the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mlserve.errors import InvalidInput, Unsupported
from mlserve.serving.oip.wire import Parameter
from mlserve.serving.seam import InferRequest

_MICROSECONDS = 1e-6
_MOST = 1 << 62
_SEQUENCE = ("sequence_id", "sequence_start", "sequence_end")


def apply_parameters(request: InferRequest, parameters: Mapping[str, Parameter], clock: Callable[[], float]) -> bool:
    """Put what ``parameters`` ask for into ``request``; whether a receipt is asked for.

    ``clock`` is what ``timeout`` (µs) counts from, in seconds; the earlier of it and a deadline that is there already
    holds. Names that mean nothing here are left for the model. Raises InvalidInput, and Unsupported for sequences.
    """
    request.parameters = parameters or None
    for name in _SEQUENCE:
        if parameters.get(name):
            raise Unsupported(f"'{name}' asks for a sequence, and models here keep no state between requests")
    for name in parameters:
        if name.startswith("triton_"):
            raise InvalidInput(f"parameter '{name}' is the server's own to set")
    timeout_us = _count(parameters, "timeout", "a count of microseconds")
    if timeout_us:
        deadline_s = clock() + min(timeout_us, _MOST) * _MICROSECONDS
        request.deadline_s = deadline_s if request.deadline_s is None else min(request.deadline_s, deadline_s)
    request.priority = _count(parameters, "priority", "a level, 1 being the most urgent")
    unit_key = parameters.get("unit_key")
    if unit_key is not None:
        request.unit_key = str(unit_key)
    return read_flag(parameters, "receipt", "the request") or False


def read_flag(parameters: Mapping[str, Parameter], name: str, of: str) -> bool | None:
    """A parameter that is true or false, or None. Raises InvalidInput."""
    value = parameters.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidInput(f"{name} of {of} is {value!r}, not true or false")
    return value


def _count(parameters: Mapping[str, Parameter], name: str, meaning: str) -> int:
    value = parameters.get(name)
    if value is None:
        return 0
    if type(value) is not int or value < 0:
        raise InvalidInput(f"{name} is {value!r}, not {meaning}")
    return value
