"""Any value of ours as the JSON document that ``--json`` prints: snake_case keys, ISO-8601 UTC times, plain numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Any


def document_of(value: Any) -> Any:
    """``value`` as JSON values: records by ``to_dict`` or their fields, times in UTC, arrays as lists, NaN as null.

    >>> document_of({"p99": float("nan"), "files": (PurePath("a/b"),)})
    {'p99': None, 'files': ['a/b']}
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, (str, PurePath)):
        return str(value)
    if isinstance(value, datetime):
        from mlserve.core.evidence import isoformat

        return isoformat(value)
    return _document_of_many(value)


def _document_of_many(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): document_of(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [document_of(item) for item in value]
    if hasattr(value, "to_dict"):
        return document_of(value.to_dict())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: document_of(getattr(value, field.name)) for field in fields(value)}
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy here
        return document_of(value.tolist())
    raise TypeError(f"no JSON form for {type(value).__name__}")


def to_json(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """``value`` as the text of one JSON document, on one line unless ``indent`` is given.

    >>> to_json({"note": "é"}, ascii_only=True)
    '{"note": "\\\\u00e9"}'
    """
    return json.dumps(document_of(value), ensure_ascii=ascii_only, indent=indent, allow_nan=False)
