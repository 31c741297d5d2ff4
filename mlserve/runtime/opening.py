"""A session opened as its device wants to be served: with an engine's profile, with graphs to capture, or as it is.

    CPU       as ever
    CUDA      enable_cuda_graph, where nothing is known against it; refused by the session: opened again without
    TensorRT  an engine for the lattice, kept on disk; the context file of an earlier load instead of the model

What could not be had is said in the log and in ``Opened.graphs``, and never keeps a model from being served.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mlserve.core.settings import Device
from mlserve.core.tensors import Signature
from mlserve.errors import InvalidInput, MlserveError
from mlserve.runtime.boundary import read_boundary
from mlserve.runtime.capturing import why_not_captured
from mlserve.runtime.engines import Profile, context_of, engine_folder, engine_options, profile_of
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.operators import read_operators
from mlserve.runtime.providers import CUDA, TENSORRT
from mlserve.runtime.threads import ThreadPlan

log = logging.getLogger(__name__)

ENGINE_ROWS = 64
"""The largest run of an engine where no ``max_batch`` says: it must be known before anything can be measured."""


@dataclass(frozen=True, slots=True)
class Engines:
    """Where engines are kept, and what they were built for besides the model: GPU and version of TensorRT."""

    folder: Path
    arch: str
    version: str


@dataclass(frozen=True, slots=True)
class Opened:
    """``graphs`` is what the metadata says of CUDA graphs: "captured", why they are refused, or nothing on the CPU.

    ``max_rows`` is the largest run that the model was opened for; None where any will do.
    """

    model: OnnxModel
    graphs: str = ""
    max_rows: int | None = None


def open_on(
    provider: str,
    path: Path,
    *,
    device: Device,
    threads: ThreadPlan,
    label: str | None,
    digest: Callable[[], str],
    max_batch: int | None,
    probe_rows: int,
    engines: Callable[[], Engines],
    load: Callable[..., OnnxModel] = load_model,
) -> Opened:
    """``path`` opened for serving on ``provider``, the first of those that ``device`` gives.

    ``probe_rows`` is the largest run made while loading; ``digest`` and ``engines`` are asked for TensorRT only.
    Raises as ``load_model``.
    """
    opened = partial(load, device=device, threads=threads, label=label)
    if provider == CUDA:
        return _with_graphs(opened, path, label or str(path))
    if provider == TENSORRT:
        return _with_engine(opened, path, label or str(path), digest(), max_batch or ENGINE_ROWS, probe_rows, engines())
    return Opened(opened(path))


def _with_graphs(opened: Callable[..., OnnxModel], path: Path, label: str) -> Opened:
    signature = _signature_of(path)
    reason = "its shapes are not declared" if signature is None else why_not_captured(signature, read_operators(path))
    if reason is None:
        try:
            return Opened(opened(path, options={CUDA: {"enable_cuda_graph": "1"}}), "captured")
        except InvalidInput as error:
            # Nodes left on the CPU show only when the session has given out the graph.
            reason = error.message
    log.info("%s: no CUDA graphs: %s", label, reason)
    return Opened(opened(path), f"refused: {reason}")


def _with_engine(
    opened: Callable[..., OnnxModel],
    path: Path,
    label: str,
    digest: str,
    max_rows: int,
    probe_rows: int,
    engines: Engines,
) -> Opened:
    signature = _signature_of(path)
    profile = Profile({}) if signature is None else profile_of(signature, max_rows, probe_rows=probe_rows)
    folder = engine_folder(engines.folder, digest, engines.arch, engines.version, profile)
    timing = engines.folder / "engines" / "timing" / f"{engines.arch}-trt{engines.version}"
    for made in (folder, timing):
        made.mkdir(parents=True, exist_ok=True)
    options = engine_options(folder, timing, profile)
    graphs = "refused: not tried with TensorRT"
    context = context_of(folder)
    if context is not None:
        try:
            reading = {name: text for name, text in options.items() if name != "trt_dump_ep_context_model"}
            return Opened(opened(context, options={TENSORRT: reading}, limits=profile, source=path), graphs, max_rows)
        except MlserveError as error:
            log.warning("%s: the engine kept in %s is built again: %s", label, folder, error.message)
            context.unlink(missing_ok=True)
    try:
        return Opened(opened(path, options={TENSORRT: options}, limits=profile), graphs, max_rows)
    except InvalidInput as error:
        # A profile names the inputs of the model; parts of it that begin elsewhere have none, and learn while warming.
        log.warning("%s: TensorRT does not take the profile, and learns it by runs: %s", label, error.message)
        learning = {name: text for name, text in options.items() if not name.startswith("trt_profile_")}
        model = opened(path, options={TENSORRT: learning}, limits=profile)
        _run_corners(model, profile)
        return Opened(model, graphs, max_rows)


def _run_corners(model: OnnxModel, profile: Profile) -> None:
    """The least and the largest run of ``profile``, so that the engine is built for all between them now."""
    for corner in (0, 2):
        inputs = {}
        for spec in model.signature.inputs:
            fixed = tuple(dim for dim in spec.dims if isinstance(dim, int))
            shape = profile.shapes[spec.name][corner] if spec.name in profile.shapes else fixed
            inputs[spec.name] = np.zeros(shape, spec.dtype.numpy)
        try:
            model.run(inputs)
        except MlserveError as error:
            log.warning("TensorRT could not be shown the shapes of its profile: %s", error.message)


def _signature_of(path: Path) -> Signature | None:
    """What the file declares; None where it does not declare every shape, or is no model, which the session says."""
    try:
        return read_boundary(path)
    except MlserveError:
        return None
