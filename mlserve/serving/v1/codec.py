"""V1 bodies ⇄ the seam's values. Rows come one by one ("instances") or as one array an input ("inputs")."""

from __future__ import annotations

import json
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput
from mlserve.serving.oip.leniently import flatten, read_json
from mlserve.serving.oip.plans import InputPlan, plan_of
from mlserve.serving.seam import Answer, AnswerTensor, InferRequest, InputTensor, ModelView


def decode_predict(view: ModelView, body: bytes, max_depth: int) -> tuple[InferRequest, bool]:
    """The request in ``body``, and whether it came by columns, which is how the answer then goes.

    Raises InvalidInput.
    """
    document = read_json(body, max_depth)
    if not isinstance(document, dict) or ("instances" in document) == ("inputs" in document):
        raise InvalidInput('the body has not one of "instances" and "inputs"')
    is_columnar = "inputs" in document
    columns = _columns(view, document["inputs"]) if is_columnar else _rows(view, document["instances"])
    plans = plan_of(view).inputs
    return InferRequest(view.name, None, [_tensor(plans[name], data) for name, data in columns.items()]), is_columnar


def encode_predictions(answer: Answer, *, is_columnar: bool) -> bytes:
    """The body for ``answer``: a value a row, or an object of its outputs where the model has several."""
    columns = {tensor.name: _written(tensor) for tensor in answer.outputs}
    content: Any = next(iter(columns.values())) if len(columns) == 1 else columns
    if not is_columnar and len(columns) > 1:
        if len({len(column) for column in columns.values()}) > 1:
            raise InvalidInput('the outputs of this model are no rows that belong together: ask by "inputs"')
        content = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    document = {"outputs" if is_columnar else "predictions": content}
    if all(isinstance(column, np.ndarray) for column in columns.values()):
        return orjson.dumps(document, default=_as_python, option=orjson.OPT_SERIALIZE_NUMPY)
    # Python's writer has bare tokens for what is not finite.
    return json.dumps(document, ensure_ascii=False, default=_as_python, separators=(",", ":")).encode()


def model_names(names: list[str]) -> bytes:
    """The list of models."""
    return orjson.dumps({"models": names})


def _rows(view: ModelView, instances: Any) -> dict[str, Any]:
    """One nested list an input, of rows that are bare values or objects of all inputs."""
    names = [spec.name for spec in view.signature.inputs]
    if not isinstance(instances, list) or not instances:
        raise InvalidInput("instances is not a list of rows")
    if not all(isinstance(row, dict) and not _is_base64(row) for row in instances):
        if len(names) == 1:
            return {names[0]: instances}
        raise InvalidInput(f"a row of this model is an object with {', '.join(names)}")
    for number, row in enumerate(instances):
        for name in row.keys() ^ set(names):
            known = "is missing" if name in names else "is no input of the model"
            raise InvalidInput(f"'{name}' of row {number} {known}")
    return {name: [row[name] for row in instances] for name in names}


def _columns(view: ModelView, inputs: Any) -> dict[str, Any]:
    names = [spec.name for spec in view.signature.inputs]
    if isinstance(inputs, dict) and not _is_base64(inputs):
        for name in inputs:
            view.signature.input(name)
        return inputs
    if len(names) != 1:
        raise InvalidInput(f"inputs is not an object with {', '.join(names)}")
    return {names[0]: inputs}


def _tensor(plan: InputPlan, data: Any) -> InputTensor:
    if plan.spec.dtype is DType.STRING:
        data = _texts(data, plan.spec.name)
    shape = shape_of(data)
    flat = flatten(data if shape else [data], shape, plan)
    return InputTensor(plan.spec.name, plan.spec.dtype, shape, flat)


def shape_of(data: Any) -> tuple[int, ...]:
    """The shape that nested lists have if they are regular, by the first element of each level.

    >>> shape_of([[1, 2, 3], [4, 5, 6]])
    (2, 3)
    """
    shape = []
    while isinstance(data, list):
        shape.append(len(data))
        if not data:
            break
        data = data[0]
    return tuple(shape)


def _texts(data: Any, name: str) -> Any:
    """``data`` with each ``{"b64": …}`` as the text it encodes."""
    if isinstance(data, list):
        return [_texts(part, name) for part in data]
    if not _is_base64(data):
        return data
    try:
        return b64decode(data["b64"], validate=True).decode("utf-8")
    except (Base64Error, UnicodeDecodeError, TypeError, ValueError) as error:
        raise InvalidInput(f"a value of '{name}' is not base64 of UTF-8 text") from error


def _is_base64(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"b64"}


def _written(tensor: AnswerTensor) -> Any:
    """An array, whose floats orjson writes as short as their own width allows, or lists where it cannot."""
    array = tensor.array()
    if array.dtype.kind == "V":
        array = array.astype(np.float32)  # BF16, which float32 holds exactly
    is_written = array.dtype.kind in "biuf" and array.ndim > 0
    if is_written and (array.dtype.kind != "f" or bool(np.isfinite(array).all())):
        return np.ascontiguousarray(array)
    return array.tolist() if array.ndim else [array.item()]


def _as_python(value: Any) -> Any:
    """What a JSON writer does not know: a part of an array."""
    return value.tolist()
