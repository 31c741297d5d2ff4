"""``OnnxModel``: one session, run with named arrays; every error of ONNX Runtime turned into one of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort

from mlserve.core.dtypes import DType, from_ort
from mlserve.core.settings import Device
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import InvalidInput, MlserveError, NotFound, Unavailable, Unsupported
from mlserve.runtime import ortvalues
from mlserve.runtime.extensions import add_extensions
from mlserve.runtime.operators import RANDOM, read_operators
from mlserve.runtime.providers import CUDA, check_chosen, choose, with_more
from mlserve.runtime.threads import ThreadPlan, plan_for_latency, usable_cores

Arrays = dict[str, np.ndarray[Any, Any]]

_LOADING = re.compile(r"^Load model (from )?.* failed: ?")

PLATFORM = "onnxruntime_onnx"
"""What the protocol calls models that ONNX Runtime runs."""

QUIET = 4
"""ONNX Runtime's severity "fatal": what it reports as an exception it need not print as well."""


GRAPH_ID, NO_GRAPH = "gpu_graph_id", "-1"
"""The run option that names the CUDA graph to capture or replay, and the id that does neither.

Source: onnxruntime_run_options_config_keys.h."""


WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
"""Where the weights of a model lie that comes in bytes. Source: onnxruntime_session_options_config_keys.h."""


class Limits(Protocol):
    """What shapes a model may be run with, beyond its signature."""

    def refusal(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> str | None:
        """Why ``inputs`` are outside; None where they are not."""


class OnnxModel:
    """A loaded model. ``run`` may be called from several threads at once, and releases the GIL while it computes.

    Where the session ``captures_graphs``, ``run`` is in none of them: its shapes and addresses are never the same.
    """

    platform = PLATFORM
    is_elsewhere = False
    is_up = True

    def __init__(
        self,
        session: ort.InferenceSession,
        source: Path | bytes,
        threads: int,
        *,
        captures_graphs: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self.signature = _signature(session)
        self.providers: tuple[str, ...] = tuple(session.get_providers())
        self.threads = threads
        self.captures_graphs = captures_graphs
        self._limits = limits
        self._source = source
        self._session: ort.InferenceSession | None = session
        self._names = [spec.name for spec in self.signature.outputs]
        self._options = ort.RunOptions()
        self._options.log_severity_level = QUIET
        if captures_graphs:
            self._options.add_run_config_entry(GRAPH_ID, NO_GRAPH)
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
        if self._limits is not None and (refusal := self._limits.refusal(inputs)):
            raise InvalidInput(refusal)
        try:
            if self._is_plain:
                return dict(zip(names, session.run(names, inputs, self._options), strict=True))
            return self._run_values(session, inputs, names)
        except MlserveError:
            raise
        except Exception as error:
            raise _running_error(error) from error

    @property
    def session(self) -> ort.InferenceSession:
        """What runs, for whoever binds buffers to it. Raises Unavailable when the model was closed."""
        if self._session is None:
            raise Unavailable("the model has been unloaded")
        return self._session

    @cached_property
    def operators(self) -> frozenset[str]:
        """The types of all nodes, those of subgraphs and functions included, read from the file when first asked."""
        return read_operators(self._source)

    @property
    def is_repeatable(self) -> bool:
        """Whether equal inputs get equal answers: no node draws random numbers."""
        return RANDOM.isdisjoint(self.operators)

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
    path: Path | bytes,
    *,
    device: Device = "auto",
    threads: ThreadPlan | None = None,
    label: str | None = None,
    options: Mapping[str, Mapping[str, str]] | None = None,
    limits: Limits | None = None,
    source: Path | None = None,
    weights_in: Path | None = None,
) -> OnnxModel:
    """The model in a file (or in bytes, its external data in the folder ``weights_in``), ready to run on ``device``.

    ``threads`` None is all usable cores for one caller; ``label`` is what errors call the model, if not by its path.
    ``options`` are more of the providers' options, by provider; ``limits`` is what shapes may be run with them;
    ``source`` is the model that ``path`` was made of, whose operators count.
    Raises NotFound for no such file, InvalidInput for one that is no model or one that this ONNX Runtime cannot run,
    Unsupported for inputs or outputs that are no tensors, Unavailable for a device that is not there, and MissingExtra
    for operators of a package that is not installed.
    """
    plan = threads or plan_for_latency(usable_cores())
    providers = with_more(choose(device, ort.get_available_providers()), options or {})
    if isinstance(path, Path) and not path.is_file():
        raise NotFound(f"no file '{path}'")
    shown = label or ("the model" if isinstance(path, bytes) else f"'{path}'")
    made = session_options(plan, path)
    if weights_in is not None:
        made.add_session_config_entry(WEIGHTS_FOLDER, str(weights_in))
    try:
        session = ort.InferenceSession(path, made, providers=providers)
    except MlserveError:
        raise
    except Exception as error:
        raise InvalidInput(f"{shown} cannot be loaded: {_reason(error)}") from error
    check_chosen(device, providers, session.get_providers())
    captures = any(name == CUDA and more.get("enable_cuda_graph") == "1" for name, more in providers)
    return OnnxModel(session, source or path, plan.threads_per_run, captures_graphs=captures, limits=limits)


def first_provider(device: Device) -> str:
    """The provider that ``device`` comes to here. Raises Unavailable for one that was asked for and is not there."""
    return choose(device, ort.get_available_providers())[0][0]


@contextmanager
def as_ours() -> Iterator[None]:
    """Errors of ONNX Runtime inside become ours, as those of ``OnnxModel.run`` do."""
    try:
        yield
    except MlserveError:
        raise
    except Exception as error:
        raise _running_error(error) from error


def session_options(plan: ThreadPlan, source: Path | bytes) -> ort.SessionOptions:
    """How every session here is made: threads as planned, quiet, no spinning, memory that stays level.

    Where the model in ``source`` has operators of onnxruntime-extensions, with those: MissingExtra without them.
    """
    options = ort.SessionOptions()
    add_extensions(options, source)
    options.log_severity_level = QUIET
    options.intra_op_num_threads = plan.threads_per_run
    options.inter_op_num_threads = 1
    # A pool that spins keeps cores from the event loop and from other sessions.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # A pattern is kept for every set of shapes that ever came, and its memory is asked for in one piece: with requests
    # of all sizes the arena never stops growing. docs/design.md has the figures.
    options.enable_mem_pattern = False
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
