"""An Open Inference Protocol request read as data: its inputs as arrays.

Source: Open Inference Protocol V2, "Inference Request JSON Object"; tensor data may be flat or nested, row-major.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlserve.core.dtypes import DType, from_oip
from mlserve.errors import InvalidInput, Unsupported
from mlserve.rows.tables import RawBatch
from mlserve.rows.value_columns import rectangular


def is_request(document: Any) -> bool:
    """Whether a decoded JSON document is a request rather than a row."""
    inputs = document.get("inputs") if isinstance(document, dict) else None
    return (
        isinstance(inputs, list)
        and bool(inputs)
        and all(isinstance(tensor, dict) and {"name", "datatype"} <= tensor.keys() for tensor in inputs)
    )


def read_request(document: Mapping[str, Any], where: str) -> RawBatch:
    """The inputs of a request by name, each of the shape it declares. Raises InvalidInput, starting with ``where``."""
    batch: RawBatch = {}
    for tensor in document["inputs"]:
        name = tensor["name"]
        if not isinstance(name, str) or name in batch:
            raise InvalidInput(f"{where}: input '{name}' comes twice, or its name is not text")
        try:
            batch[name] = _read_tensor(tensor)
        except (InvalidInput, ValueError) as error:
            raise InvalidInput(f"{where}: input '{name}': {error}") from error
    return batch


def _read_tensor(tensor: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[Any]]:
    shape, values = tensor.get("shape"), tensor.get("data")
    if not isinstance(shape, list) or not all(type(dim) is int and dim >= 0 for dim in shape):
        raise InvalidInput("its shape is not a list of lengths")
    if not isinstance(values, list):
        raise InvalidInput("it has no list of data; a request in a file holds its data as JSON")
    dtype = _datatype(tensor["datatype"])
    array = rectangular(values)
    if array.size != math.prod(shape):
        raise InvalidInput(f"shape {shape} takes {math.prod(shape)} values and there are {array.size}")
    if array.size and (dtype is DType.STRING) != (array.dtype.kind == "O"):
        raise InvalidInput(f"its data are not {tensor['datatype']}")
    return array.reshape(shape) if array.size else np.zeros(shape, dtype.numpy)


def _datatype(name: Any) -> DType:
    try:
        return from_oip(str(name))
    except Unsupported as error:
        raise InvalidInput(error.message) from error
