"""What people attach to a version (metrics, params, tags, notes), checked before anything is written."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from mlserve.errors import InvalidInput, UsageError

MAX_TEXT_CHARS = 10_000
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@/+-]{0,127}")


def checked_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """``metrics`` as floats. Raises UsageError for a name, InvalidInput for a value that is not finite."""
    for name, value in metrics.items():
        checked_key("metric", name)
        if not math.isfinite(value):
            raise InvalidInput(f"metric '{name}' is {value}, not a finite number")
    return {name: float(value) for name, value in metrics.items()}


def checked_values(kind: str, values: Mapping[str, str]) -> dict[str, str]:
    """``values`` as they are. Raises UsageError for a name, InvalidInput for a text that cannot be stored."""
    for name, value in values.items():
        checked_key(kind, name)
        checked_text(f"{kind} '{name}'", value)
    return dict(values)


def checked_key(kind: str, name: str) -> str:
    """A name such as ``auc`` or ``val/ndcg@10``. Raises UsageError."""
    if not _KEY.fullmatch(name):
        hint = "letters, digits, '_', '.', '@', '/', '+' and '-', at most 128 of them"
        raise UsageError(f"'{name}' is not the name of a {kind}", hint=hint)
    return name


def checked_text(what: str, text: str) -> str:
    """``text`` as it is. Raises InvalidInput when it is too long or holds what no database keeps.

    >>> checked_text("the reason", "load test passed")
    'load test passed'
    """
    if len(text) > MAX_TEXT_CHARS:
        raise InvalidInput(f"{what} has {len(text)} characters, at most {MAX_TEXT_CHARS} are kept")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput(f"{what} is not text: {text!r}")
    return text
