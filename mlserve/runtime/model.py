"""``OnnxModel``: one session, run with named arrays; every error of ONNX Runtime turned into one of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from mlserve.core.dtypes import DType, from_ort
from mlserve.core.settings import Device
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import InvalidInput, MlserveError, NotFound, Unavailable, Unsupported
from mlserve.runtime import ortvalues
from mlserve.runtime.operators import read_operators
from mlserve.runtime.providers import check_chosen, choose
from mlserve.runtime.threads import ThreadPlan, plan_for_latency, usable_cores

Arrays = dict[str, np.ndarray[Any, Any]]

_LOADING = re.compile(r"^Load model (from )?.* failed: ?")

QUIET = 4
"""ONNX Runtime's severity "fatal": what it reports as an exception it need not print as well."""


class OnnxModel:
    """A loaded model. ``run`` may be called from several threads at once, and releases the GIL while it computes."""

    def __init__(self, session: ort.InferenceSession, source: Path | bytes, threads: int) -> None:
        self.signature = _signature(session)
        self.providers: tuple[str, ...] = tuple(session.get_providers())
        self.threads = threads
        self._source = source
        self._session: ort.InferenceSession | None = session
        self._names = [spec.name for spec in self.signature.outputs]
        self._options = ort.RunOptions()
        self._options.log_severity_level = QUIET
        specs = (*self.signature.inputs, *self.signature.outputs)
        self._is_plain = not any([ortvalues.is_needed(spec.dtype) for spec in specs])
        if not self._is_plain and any(spec.dtype is DType.STRING for spec in self.signature.inputs):
            # ONNX Runtime makes no value of strings, and takes either values or arrays, not both.
            raise Unsupported("a model with string inputs beside BF16 or 8-bit floats cannot be served here")
        self._input_dtypes = {spec.name: spec.dtype for spec in self.signature.inputs}

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]], outputs: Sequence[str] | None = None) -> Arrays:
        """The outputs by name, all of them in graph order, or ``outputs`` in their order.

        ``inputs`` are arrays of the signature's types; strings are objects of ``str``, BF16 and the 8-bit floats
        ml_dtypes arrays. Raises InvalidInput for what the model refuses (wrong names, types, shapes, values), and
        Unavailable when memory runs out or the model was closed.
        """
        session = self._session
        if session is None:
            raise Unavailable("the model has been unloaded")
        names = self._names if outputs is None else list(outputs)
        try:
            if self._is_plain:
                return dict(zip(names, session.run(names, inputs, self._options), strict=True))
            return self._run_values(session, inputs, names)
        except MlserveError:
            raise
        except Exception as error:
            raise _running_error(error) from error

    @cached_property
    def operators(self) -> frozenset[str]:
        """The types of all nodes, those of subgraphs and functions included, read from the file when first asked."""
        return read_operators(self._source)

    def close(self) -> None:
        """Let the session go; a run that is under way finishes first. Closing again does nothing."""
        self._session = None

    def _run_values(self, session: ort.InferenceSession, inputs: Mapping[str, Any], names: list[str]) -> Arrays:
        values = {
            name: ortvalues.to_value(np.ascontiguousarray(array), self._input_dtypes.get(name))
            for name, array in inputs.items()
        }
        results = session.run_with_ort_values(names, values, self._options)
        return {name: ortvalues.to_array(value) for name, value in zip(names, results, strict=True)}


def load_model(
    path: Path | bytes, *, device: Device = "auto", threads: ThreadPlan | None = None, label: str | None = None
) -> OnnxModel:
    """The model in a file (or in bytes, without external data), ready to run on ``device``.

    ``threads`` None is all usable cores for one caller; ``label`` is what errors call the model, if not by its path.
    Raises NotFound for no such file, InvalidInput for one that is no model or one that this ONNX Runtime cannot run,
    Unsupported for inputs or outputs that are no tensors, and Unavailable for a device that is not there.
    """
    plan = threads or plan_for_latency(usable_cores())
    providers = choose(device, ort.get_available_providers())
    options = _session_options(plan)
    if isinstance(path, Path) and not path.is_file():
        raise NotFound(f"no file '{path}'")
    shown = label or ("the model" if isinstance(path, bytes) else f"'{path}'")
    try:
        session = ort.InferenceSession(path, options, providers=providers)
    except Exception as error:
        raise InvalidInput(f"{shown} cannot be loaded: {_reason(error)}") from error
    check_chosen(device, providers, session.get_providers())
    return OnnxModel(session, path, plan.threads_per_run)


def _session_options(plan: ThreadPlan) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = plan.threads_per_run
    options.inter_op_num_threads = 1
    # A pool that spins keeps cores from the event loop and from other sessions.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _signature(session: ort.InferenceSession) -> Signature:
    return Signature(
        tuple(_spec(node, "input") for node in session.get_inputs()),
        tuple(_spec(node, "output") for node in session.get_outputs()),
    )


def _spec(node: Any, role: str) -> TensorSpec:
    try:
        dtype = from_ort(node.type)
    except Unsupported as error:
        raise Unsupported(
            f"{role} '{node.name}' is {node.type}, and only tensors can be served",
            hint="export without sequences and maps (scikit-learn classifiers: zipmap=False)",
        ) from error
    dims = tuple(None if dim == "" or (isinstance(dim, int) and dim < 0) else dim for dim in node.shape)
    return TensorSpec(node.name, dtype, dims)


def _running_error(error: Exception) -> MlserveError:
    text = str(error)
    if isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text.lower():
        return Unavailable(f"out of memory: {_reason(error)}")
    return InvalidInput(f"the model refused the inputs: {_reason(error)}")


def _reason(error: Exception) -> str:
    """ONNX Runtime's sentence without its prefix of codes and the path, on one line."""
    text = " ".join(str(error).split())
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    text = _LOADING.sub("", text).removesuffix(".")
    return text[:500] or type(error).__name__
