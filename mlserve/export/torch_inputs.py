"""What a module is called with: its argument names, and example tensors from the sample or from the factory."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mlserve.core.dtypes import DType, from_numpy
from mlserve.errors import InvalidInput, Unsupported, UsageError
from mlserve.export.exporter import Arrays, Axes

BATCH = "batch"
MIN_ROWS = 2
"""torch takes a length of 0 or 1 for a constant, so the example has at least two rows."""

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

Tensors = dict[str, torch.Tensor]


def argument_names(module: torch.nn.Module) -> tuple[list[str], list[str]]:
    """The arguments of ``forward`` that must be given, and all that may be. Raises Unsupported for ``*args``."""
    parameters = inspect.signature(module.forward).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters):
        raise Unsupported(f"{type(module).__qualname__}.forward takes *args, which have no names to export")
    named = [parameter for parameter in parameters if parameter.kind in _NAMED]
    required = [parameter.name for parameter in named if parameter.default is inspect.Parameter.empty]
    return required, [parameter.name for parameter in named]


def tensors_of_sample(module: torch.nn.Module, columns: Arrays) -> Tensors:
    """Example tensors by argument: a column per argument, or all columns as the features of the only argument.

    Whole numbers are tried as such first, then as floats: a CSV of whole-numbered features feeds a linear layer, too.
    Raises InvalidInput for columns that are not the arguments, or that ``forward`` refuses.
    """
    arrays = _by_argument(module, columns)
    tensors = {name: to_tensor(array, floating_dtype(module)) for name, array in arrays.items()}
    try:
        run(module, tensors)
    except InvalidInput:
        if columns.keys() == arrays.keys() or any(tensor.is_floating_point() for tensor in tensors.values()):
            raise
        tensors = {name: tensor.to(floating_dtype(module)) for name, tensor in tensors.items()}
        run(module, tensors)
    return tensors


def tensors_of_call(module: torch.nn.Module, given: Any) -> Tensors:
    """Example tensors by argument from what a factory gave: one tensor, a sequence in order, or a mapping by name."""
    _, names = argument_names(module)
    if isinstance(given, Mapping):
        found = dict(given)
    else:
        found = dict(zip(names, (given,) if isinstance(given, torch.Tensor) else given, strict=False))
    if not found or not all(isinstance(tensor, torch.Tensor) for tensor in found.values()) or set(found) - set(names):
        raise InvalidInput("the factory's example inputs are not tensors for the arguments of forward")
    return found


def with_enough_rows(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """``tensors`` with at least two rows each, a single one being repeated."""
    return {
        name: tensor.expand(MIN_ROWS, *tensor.shape[1:]).clone() if tensor.ndim and tensor.shape[0] == 1 else tensor
        for name, tensor in tensors.items()
    }


def to_tensor(array: np.ndarray[Any, Any], floating: torch.dtype) -> torch.Tensor:
    """``array`` as a tensor, floats in ``floating``. Raises InvalidInput for text."""
    if from_numpy(array.dtype) is DType.STRING:
        raise InvalidInput("the sample holds text, and a torch module takes numbers")
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.to(floating) if tensor.is_floating_point() else tensor


def floating_dtype(module: torch.nn.Module) -> torch.dtype:
    """The type of the module's own floats; float32 for a module without any."""
    return next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)


def run(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> Any:
    """What the module gives. Raises InvalidInput for whatever its code raises: it is the user's."""
    try:
        with torch.no_grad():
            return module(**tensors)
    except Exception as error:
        fact = str(error).strip().split("\n")[0]
        raise InvalidInput(f"the module refuses these inputs: {type(error).__name__}: {fact}") from error


def dynamic_axes(tensors: Mapping[str, torch.Tensor], asked: Axes | None) -> dict[str, dict[int, str]]:
    """The dynamic axes by argument: axis 0 is ``batch`` unless nothing may be dynamic, further ones as ``asked``.

    Raises UsageError for an input or an axis that is not there.
    """
    if asked is not None and not asked:
        return {name: {} for name in tensors}
    axes = {name: ({0: BATCH} if tensor.ndim else {}) for name, tensor in tensors.items()}
    for target, named in (asked or {}).items():
        if target is not None and target not in tensors:
            raise UsageError(f"the model has no input '{target}'", hint=f"it has {', '.join(tensors)}")
        for name in [target] if target is not None else list(tensors):
            fitting = {axis: label for axis, label in named.items() if axis < tensors[name].ndim}
            if target is not None and fitting != dict(named):
                raise UsageError(f"input '{name}' has {tensors[name].ndim} axes, numbered from 0")
            axes[name] |= fitting
    return axes


def _by_argument(module: torch.nn.Module, columns: Arrays) -> Arrays:
    required, names = argument_names(module)
    if set(required) <= columns.keys() <= set(names):
        return {name: columns[name] for name in names if name in columns}
    if len(required) == 1 and all(array.ndim == 1 for array in columns.values()):
        return {required[0]: np.stack([_number(name, array) for name, array in columns.items()], axis=1)}
    missing = [name for name in required if name not in columns] or sorted(columns.keys() - set(names))
    raise InvalidInput(
        f"the sample has {', '.join(columns)}, and forward takes {', '.join(names)}",
        hint=f"name the arrays of the sample as the arguments; '{missing[0]}' is the first that does not fit",
    )


def _number(name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype.kind not in "fiub":
        raise InvalidInput(f"column '{name}' holds text, and a torch module takes numbers")
    return array
