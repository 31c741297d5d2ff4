"""A slot: the buffers of one number of rows, bound to a session once and used again for every run of that size.

    rows of requests ─► staging (pinned, if there is such memory) ─► input on the device ─► run ─► output ─► rows

Addresses never change, which is what a captured graph needs, and nothing is allocated on a request. A slot belongs to
one run at a time; ``fixed`` sees to that. The same code runs with the CPU as the device, where tests compare it with
plain runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from mlserve.core.tensors import TensorSpec
from mlserve.errors import InvalidInput
from mlserve.runtime.model import GRAPH_ID, NO_GRAPH, QUIET, OnnxModel

Array = np.ndarray[Any, Any]


class Slot:
    """Buffers for ``rows`` rows of ``model``, on ``device`` ("cpu" or "cuda").

    ``graph`` is the id of its CUDA graph, if any, 1 or more: 0 is the graph of every run that names none.
    The model's shapes must follow from the rows alone (``capturing.why_not_bound``). Raises what ONNX Runtime raises.
    """

    def __init__(self, model: OnnxModel, rows: int, *, device: str, graph: int | None = None) -> None:
        self.rows = rows
        self.graph = graph
        self._session = model.session
        self._options = run_options(graph)
        self._inputs = {spec.name: _value(spec, rows, device) for spec in model.signature.inputs}
        self._outputs = {spec.name: _value(spec, rows, device) for spec in model.signature.outputs}
        self._pinned = {spec.name: _pinned(spec, rows, device) for spec in model.signature.inputs}
        self._staging = {name: staging for name, (staging, _) in self._pinned.items()}
        self._binding = self._session.io_binding()
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)

    @property
    def addresses(self) -> tuple[int, ...]:
        """Where inputs and outputs lie on the device."""
        return tuple(value.data_ptr() for value in (*self._inputs.values(), *self._outputs.values()))

    def fill(self, inputs: Mapping[str, Array], rows: int) -> None:
        """Copy ``rows`` rows in, and the first of them again wherever one is missing."""
        for name, staging in self._staging.items():
            array = inputs[name]
            if array.shape[1:] != staging.shape[1:] or array.dtype != staging.dtype:
                raise InvalidInput(f"input '{name}' is {array.dtype} of shape {list(array.shape)}, unlike the model's")
            staging[:rows] = array
            staging[rows:] = staging[:1]
            # ONNX Runtime waits for the copy, so the staging may be filled again at once.
            self._inputs[name].update_inplace(staging)

    def launch(self) -> None:
        """Run on what was filled in. The first launches of a thread capture the graph, later ones replay it."""
        self._binding.synchronize_inputs()
        self._session.run_with_iobinding(self._binding, self._options)
        self._binding.synchronize_outputs()

    def read(self, rows: int, names: Sequence[str] | None) -> dict[str, Array]:
        """Copies of the first ``rows`` rows of the outputs, all or ``names`` in their order."""
        wanted = self._outputs if names is None else {name: self._outputs[name] for name in names}
        # On the CPU ``numpy`` gives the buffer itself, which the next run writes into.
        return {name: value.numpy()[:rows].copy() for name, value in wanted.items()}


def run_options(graph: int | None) -> ort.RunOptions:
    """Options of a run in ``graph``, or of one that is in none although the session captures."""
    options = ort.RunOptions()
    options.log_severity_level = QUIET
    options.add_run_config_entry(GRAPH_ID, NO_GRAPH if graph is None else str(graph))
    return options


def pinned_memory(device: str, devices: Callable[[], Sequence[Any]]) -> Any | None:
    """ONNX Runtime's description of memory that ``device`` reads without a copy in between; None where there is none.

    ``devices`` is ``onnxruntime.get_ep_devices``.
    """
    if device == "cpu":
        return None
    infos = (one.memory_info(ort.OrtDeviceMemoryType.HOST_ACCESSIBLE) for one in devices() if device in _kind(one))
    return next((info for info in infos if info is not None), None)


def _kind(device: Any) -> str:
    return str(device.ep_name).lower()


def _pinned(spec: TensorSpec, rows: int, device: str) -> tuple[Array, Any]:
    """An array to gather rows in, and what owns its memory (None: itself)."""
    memory = pinned_memory(device, ort.get_ep_devices)
    if memory is not None:
        value = ort.OrtValue.ortvalue_from_shape_and_type(_shape(spec, rows), spec.dtype.numpy, memory_info=memory)
        array = value.numpy()
        # Only where it is the memory itself and no copy of it.
        if array.ctypes.data == value.data_ptr() and array.flags.writeable:
            return array, value
    return np.zeros(_shape(spec, rows), spec.dtype.numpy), None


def _value(spec: TensorSpec, rows: int, device: str) -> ort.OrtValue:
    value = ort.OrtValue.ortvalue_from_shape_and_type(_shape(spec, rows), spec.dtype.numpy, device, 0)
    value.update_inplace(np.zeros(_shape(spec, rows), spec.dtype.numpy))
    return value


def _shape(spec: TensorSpec, rows: int) -> list[int]:
    return [rows, *(dim for dim in spec.dims[1:] if isinstance(dim, int))]
