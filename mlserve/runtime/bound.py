"""A model whose batches run in slots: fixed sizes, inputs and outputs at fixed addresses, on CUDA as recorded graphs.

    rows ── filled up to a size of the lattice ── copied into the slot ── run ── copied out, cut to the rows

A slot belongs to one thread, a size and the shape of a row. ONNX Runtime keeps recorded graphs by thread and replays
them at the addresses they were recorded with; so where graphs are recorded all runs are made by one thread, and what
was warmed up when the model was loaded is never recorded again on a request. Nothing is allocated in a run. Source: ONNX
Runtime's documentation of the CUDA provider (CUDA graphs, ``gpu_graph_id``) and of I/O binding.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import onnxruntime as ort

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature
from mlserve.errors import MlserveError
from mlserve.runtime import ortvalues
from mlserve.runtime.lattice import size_for
from mlserve.runtime.model import QUIET, Arrays, OnnxModel, running_error
from mlserve.runtime.operators import CONTROL_FLOW
from mlserve.runtime.providers import CPU

SLOTS = 64
"""Slots that a thread keeps; the least recently used goes when lengths vary more than that."""

GRAPH = "gpu_graph_id"
NO_GRAPH = "-1"
Array = np.ndarray[Any, Any]
Key = tuple[int, tuple[tuple[tuple[int, ...], str], ...]]


@dataclass(slots=True)
class _Slot:
    """The memory of one size: the inputs as they lie on the device, and the outputs, by name."""

    binding: ort.IOBinding
    inputs: dict[str, ort.OrtValue]
    outputs: dict[str, ort.OrtValue]
    options: ort.RunOptions


def reason_against_slots(signature: Signature) -> str | None:
    """Why a model of ``signature`` cannot run in slots, None where it can: tensors that numpy and the device share."""
    for spec in (*signature.inputs, *signature.outputs):
        if spec.dtype is DType.STRING or ortvalues.is_needed(spec.dtype):
            return f"'{spec.name}' is {spec.dtype.value}"
    if any(not spec.dims or isinstance(spec.dims[0], int) for spec in (*signature.inputs, *signature.outputs)):
        return "its rows are not axis 0 of every input and output"
    given = {dim for spec in signature.inputs for dim in spec.dims}
    for spec in signature.outputs:
        if any(not isinstance(dim, int) and (dim is None or dim not in given) for dim in spec.dims[1:]):
            return f"the shape of '{spec.name}' does not follow from the inputs'"
    return None


def reason_against_graphs(operators: Iterable[str]) -> str | None:
    """Why a graph cannot be recorded of a model with these ``operators``, None where it may be."""
    found = sorted(CONTROL_FLOW.intersection(operators))
    return f"it has {', '.join(found)}" if found else None


class BoundModel(OnnxModel):
    """``model``, whose runs of up to the largest of ``sizes`` rows go through slots; larger ones as before.

    ``is_recorded`` says that its session was made to record graphs. ``device`` is where slots lie, "cpu" or "cuda".
    """

    def __init__(
        self, model: OnnxModel, sizes: Sequence[int], *, device: str | None = None, is_recorded: bool = False
    ) -> None:
        self.__dict__.update(model.__dict__)
        self.sizes = tuple(sizes)
        self.is_recorded = is_recorded
        self._device = device or ("cpu" if model.providers[0] == CPU else "cuda")
        self._slots = threading.local()
        self._graph_ids = count(1)
        self._recorder = ThreadPoolExecutor(1, thread_name_prefix="graphs") if is_recorded else None
        if is_recorded:
            # A run outside the slots must not be recorded: its addresses are not kept.
            self._options.add_run_config_entry(GRAPH, NO_GRAPH)

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None) -> Arrays:
        """As ``OnnxModel.run``; rows are independent, so those that fill a batch up change no other."""
        rows = _rows(inputs)
        size = size_for(rows, self.sizes) if rows else None
        session = self._session
        if self.limit is not None:
            self.limit({name: array.shape for name, array in inputs.items()})
        if size is None or session is None or len(inputs) != len(self._input_dtypes):
            return super().run(inputs, outputs)
        names = self._names if outputs is None else outputs
        try:
            if self._recorder is None:
                return self._run_in_slot(session, inputs, size, names)
            return self._recorder.submit(self._run_in_slot, session, inputs, size, names).result()
        except (MlserveError, KeyError):
            return super().run(inputs, outputs)  # which says what is wrong with it
        except Exception as error:
            raise running_error(error) from error

    def close(self) -> None:
        """As ``OnnxModel.close``; the slots' memory goes with the session."""
        super().close()
        self._slots = threading.local()
        if self._recorder is not None:
            self._recorder.shutdown(wait=False)

    def _run_in_slot(
        self, session: ort.InferenceSession, inputs: Mapping[str, Array], size: int, names: Sequence[str]
    ) -> Arrays:
        slot = self._slot(inputs, size)
        for name, value in slot.inputs.items():
            value.update_inplace(_filled(inputs[name], size))
        session.run_with_iobinding(slot.binding, slot.options)
        rows = _rows(inputs)
        return {name: _taken(slot.outputs[name], rows) for name in names}

    def _slot(self, inputs: Mapping[str, Array], size: int) -> _Slot:
        slots: OrderedDict[Key, _Slot] = self._slots.__dict__.setdefault("by_key", OrderedDict())
        key = size, tuple([(inputs[name].shape[1:], inputs[name].dtype.str) for name in self._input_dtypes])
        slot = slots.get(key)
        if slot is None:
            slot = slots[key] = self._made(inputs, size)
            if len(slots) > SLOTS:
                slots.popitem(last=False)
        else:
            slots.move_to_end(key)
        return slot

    def _made(self, inputs: Mapping[str, Array], size: int) -> _Slot:
        """A slot for inputs like these; the first run, without a graph, tells the outputs' shapes."""
        filled = {name: np.array(_filled(inputs[name], size)) for name in self._input_dtypes}
        found = super().run(filled)
        assert self._session is not None
        binding = self._session.io_binding()
        values = {name: self._value(array.shape, array.dtype) for name, array in filled.items()}
        outs = {name: self._value(array.shape, array.dtype) for name, array in found.items()}
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outs.items():
            binding.bind_ortvalue_output(name, value)
        options = ort.RunOptions()
        options.log_severity_level = QUIET
        if self.is_recorded:
            options.add_run_config_entry(GRAPH, str(next(self._graph_ids)))
        return _Slot(binding, values, outs, options)

    def _value(self, shape: Sequence[int], dtype: np.dtype[Any]) -> ort.OrtValue:
        return ort.OrtValue.ortvalue_from_shape_and_type(list(shape), dtype.type, self._device, 0)


def warm(model: OnnxModel, inputs: Mapping[str, Array], sizes: Iterable[int], is_over: Callable[[], bool]) -> list[int]:
    """Run ``model`` at each of ``sizes`` rows, twice (a graph is recorded in the second), until the time ``is_over``.

    ``inputs`` hold as many rows as the largest size. Returns the sizes that were run. Raises what ``run`` raises.
    """
    done = []
    for size in sizes:
        if is_over():
            break
        few = {name: array[:size] for name, array in inputs.items()}
        model.run(few)
        model.run(few)
        done.append(size)
    return done


def _rows(inputs: Mapping[str, Array]) -> int:
    """The rows that all inputs have, 0 where they differ."""
    lengths = {array.shape[0] if array.ndim else 0 for array in inputs.values()}
    return lengths.pop() if len(lengths) == 1 else 0


def _filled(array: Array, size: int) -> Array:
    """``array`` with its last row repeated up to ``size`` rows, in one block of memory."""
    missing = size - len(array)
    if missing:
        array = np.concatenate([array, np.broadcast_to(array[-1:], (missing, *array.shape[1:]))])
    return np.ascontiguousarray(array)


def _taken(value: ort.OrtValue, rows: int) -> Array:
    """A copy of the first ``rows``: on the CPU the array that ONNX Runtime gives is the slot's own memory."""
    return np.array(value.numpy()[:rows])
