"""Errors of ours told by one process to another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlserve import errors
from mlserve.errors import MlserveError, Unavailable


def error_event(error: MlserveError) -> dict[str, Any]:
    """An error of ours as a process tells it."""
    return {"event": "error", "type": type(error).__name__, "message": error.message, "hint": error.hint}


def error_in(event: Mapping[str, Any]) -> MlserveError:
    """The error that ``error_event`` told."""
    kind = getattr(errors, str(event.get("type")), None)
    if not (isinstance(kind, type) and issubclass(kind, MlserveError)):
        kind = Unavailable
    found: MlserveError = kind(str(event.get("message")), hint=event.get("hint"))
    return found
