"""PyTorch: modules and exported programs through ``torch.onnx.export(dynamo=True)``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch.utils import _pytree as pytree

from mlserve.errors import InvalidInput, Unsupported, UsageError
from mlserve.export.exporter import Arrays, Conversion, Request
from mlserve.export.naming import name_axes, rename_inputs, rename_outputs
from mlserve.export.quieting import foreign_output
from mlserve.export.sampling import first_rows
from mlserve.export.torch_inputs import (
    Tensors,
    dynamic_axes,
    run,
    tensors_of_call,
    tensors_of_sample,
    with_enough_rows,
)
from mlserve.export.torch_loading import load_program
from mlserve.export.torch_tracing import trace
from mlserve.export.torch_weights import WEIGHTS, module_of_weights

MAX_EXAMPLE_ROWS = 8
_TOOLS = ("torch", "onnxscript", "onnx", "onnxruntime", "onnxruntime-gpu")


class TorchExporter:
    """Modules (an instance, a class or a factory; with example inputs if it gives a pair), ``.pt2`` files, weights."""

    suffixes: ClassVar[tuple[str, ...]] = (".pt2", *WEIGHTS)
    packages: ClassVar[tuple[str, ...]] = ("torch",)

    def convert(self, request: Request) -> Conversion:
        """The graph of a module in evaluation mode, axis 0 of every input dynamic and further axes as asked.

        Raises UsageError where example inputs are needed, InvalidInput for inputs that the module refuses or a program
        that torch cannot trace, Unsupported for outputs other than tensors.
        """
        if request.loaded is None and request.made is None and Path(request.source).suffix.lower() == ".pt2":
            return _convert_program(request)
        loaded = request.loaded
        if loaded is None:
            loaded = module_of_weights(Path(request.source), request.made, allow_pickle=request.allow_pickle)
        module, given = loaded if isinstance(loaded, tuple) else (loaded, None)
        if not isinstance(module, torch.nn.Module):
            raise InvalidInput(f"'{request.source}' is a {type(module).__qualname__}, not a torch module")
        module = module.cpu().eval()
        if given is None and request.sample is None:
            raise UsageError(
                "a torch module does not say what its inputs look like",
                hint="--sample DATA with a few rows, or let the factory return (module, example inputs)",
            )
        with foreign_output():
            tensors = tensors_of_call(module, given) if request.sample is None else _from_sample(module, request)
            tensors = tensors if request.dynamic == {} else with_enough_rows(tensors)
            names = output_names(run(module, tensors))
        axes = dynamic_axes(tensors, request.dynamic)
        model = trace(module, request.opset, kwargs=tensors, dynamic_shapes=axes)
        rename_inputs(model, list(tensors))
        names = rename_outputs(model, names)
        name_axes(model)
        return Conversion(
            model,
            _original(module, tensors, names),
            _TOOLS,
            example=_arrays(tensors),
            notes=_fixed_axes(tensors, axes),
        )


def output_names(outputs: Any) -> list[str]:
    """A name for each tensor in ``outputs``, in the order that they have in the graph: keys, fields, else numbers.

    Raises Unsupported for anything that is neither a tensor nor made of tensors.
    """
    leaves = [(path, leaf) for path, leaf in pytree.tree_flatten_with_path(outputs)[0] if leaf is not None]
    for _, leaf in leaves:
        if not isinstance(leaf, torch.Tensor):
            raise Unsupported(f"the module gives a {type(leaf).__qualname__}, and only tensors can be exported")
    if not leaves:
        raise Unsupported("the module gives nothing")
    if len(leaves) == 1 and not leaves[0][0]:
        return ["output"]
    return [_path_name(path) for path, _ in leaves]


def _path_name(path: tuple[Any, ...]) -> str:
    words = re.findall(r"\w+", pytree.keystr(path))
    return "_".join(["output", *words] if not words or words[0].isdigit() else words)


def _from_sample(module: torch.nn.Module, request: Request) -> Tensors:
    """The first rows; all of them for a graph whose one shape is the sample's."""
    rows = first_rows(request)
    few = rows if request.dynamic == {} else {name: array[:MAX_EXAMPLE_ROWS] for name, array in rows.items()}
    return tensors_of_sample(module, few)


def _convert_program(request: Request) -> Conversion:
    if request.dynamic is not None:
        raise UsageError("a .pt2 program has fixed its dynamic axes already", hint="leave out --dynamic")
    program = load_program(Path(request.source), allow_pickle=request.allow_pickle)
    module = program.module()
    model = trace(program, request.opset)
    inputs = [value.name for value in model.graph.input]
    leaves = pytree.tree_leaves(program.example_inputs)
    if len(leaves) != len(inputs) or not all(isinstance(leaf, torch.Tensor) for leaf in leaves):
        raise Unsupported(f"'{request.source}' takes other things than one tensor for each input of the graph")
    tensors = dict(zip(inputs, leaves, strict=True))
    call = _call_like(program, module)
    names = output_names(run(call, tensors))
    names = rename_outputs(model, names)
    name_axes(model)
    return Conversion(model, _original(call, tensors, names), _TOOLS, example=_arrays(tensors))


def _call_like(program: Any, module: torch.nn.Module) -> torch.nn.Module:
    """``module`` taking one tensor a graph input by name, whatever nesting its own arguments have."""
    _, structure = pytree.tree_flatten(program.example_inputs)

    class Named(torch.nn.Module):
        def forward(self, **tensors: torch.Tensor) -> Any:
            args, kwargs = pytree.tree_unflatten(list(tensors.values()), structure)
            return module(*args, **kwargs)

    return Named()


def _original(
    module: torch.nn.Module, tensors: Tensors, names: list[str]
) -> Callable[[Arrays], dict[str, np.ndarray[Any, Any]]]:
    dtypes = {name: tensor.dtype for name, tensor in tensors.items()}

    def predict(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        call = {name: torch.from_numpy(np.ascontiguousarray(inputs[name])).to(dtypes[name]) for name in dtypes}
        with foreign_output():
            leaves = [leaf for leaf in pytree.tree_leaves(run(module, call)) if leaf is not None]
        if len(leaves) != len(names):
            raise InvalidInput(f"the module gives {len(leaves)} outputs for these inputs, and {len(names)} for others")
        return _arrays(dict(zip(names, leaves, strict=True)))

    return predict


def _arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    return {
        name: (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).detach().numpy()
        for name, tensor in tensors.items()
    }


def _fixed_axes(tensors: Tensors, axes: Mapping[str, Mapping[int, str]]) -> tuple[str, ...]:
    """Sequences of whole numbers are the axes that people forget."""
    return tuple(
        f"axis 1 of '{name}' is fixed at {tensor.shape[1]}; --dynamic 1=sequence lets it have any length"
        for name, tensor in tensors.items()
        if tensor.ndim == 2 and not tensor.is_floating_point() and 1 not in axes[name]
    )
