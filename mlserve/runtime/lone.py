"""A second session with all cores, for a request that finds nothing else to do, if it answers bit for bit alike.

One thread a run gives the most rows a second, and leaves cores idle when a single request is there. Both sessions then
share one copy of the weights (``sharing``); where that cannot be had the second holds them once more, so it is for
models below a size. More threads may sum in another order, so it is shown first that here they do not.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import onnx

from mlserve.core.settings import Device
from mlserve.errors import MlserveError
from mlserve.graph.external import external_files
from mlserve.runtime.closeness import EXACT, closeness
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.operators import ROW_MIXING
from mlserve.runtime.providers import CPU
from mlserve.runtime.samples import synthetic_inputs
from mlserve.runtime.sharing import open_sharing
from mlserve.runtime.threads import ThreadPlan, plan_for_latency

log = logging.getLogger(__name__)

PROBES = ((1, 3), (1, 8), (1, 31), (1, 64), (2, 16), (7, 8))
"""Rows, and the length of every other dynamic axis, of the requests that both sessions must answer alike."""


@dataclass(frozen=True, slots=True)
class Lone:
    """The second session, or None and the ``reason`` why there is none.

    ``main`` is what takes the first session's place, that both share their weights; None where it stays.
    """

    model: OnnxModel | None
    reason: str
    main: OnnxModel | None = None


def open_lone(model: OnnxModel, path: Path, *, device: Device, plan: ThreadPlan, max_bytes: int) -> Lone:
    """The second session of ``model``, loaded from ``path``. Never raises for what the model does.

    ``model`` itself is left open, also where another takes its place.
    """
    cores = plan.lanes * plan.threads_per_run
    if model.providers[0] != CPU:
        return Lone(None, f"it runs on {model.providers[0]}")
    if plan.lanes == 1:
        return Lone(None, "every run has all cores")
    # Two sessions draw the same numbers as long as they run in step, so that the probe would not see it.
    if any("random" in ROW_MIXING.get(name, "") for name in model.operators):
        return Lone(None, "it draws random numbers")
    opened: list[OnnxModel] = []
    try:
        size_bytes = _size_bytes(path)
        if size_bytes > max_bytes:
            return Lone(None, f"its {size_bytes} bytes are more than {max_bytes}")
        opened = _opened(path, device, plan, plan_for_latency(cores))
        if all(_answers_alike(model, one) for one in opened):
            *mains, second = opened
            return Lone(second, "both sessions answer bit for bit alike in the probe", *mains)
        reason = "more threads change the last bits of an answer"
    except MlserveError as error:
        reason = f"the probe could not run: {error.message}"
    for one in opened:
        one.close()
    return Lone(None, reason)


def _opened(path: Path, device: Device, plan: ThreadPlan, all_cores: ThreadPlan) -> list[OnnxModel]:
    """A session of each plan that share their weights; only the second where they cannot."""
    try:
        return open_sharing(path, (plan, all_cores))
    except MlserveError as error:
        log.info("two sessions of '%s' hold its weights twice: %s", path.name, error.message)
        return [load_model(path, device=device, threads=all_cores)]


def _size_bytes(path: Path) -> int:
    """The size of the model and of the files beside it that hold weights of it."""
    beside = external_files(onnx.load(path, load_external_data=False), path.parent)
    return path.stat().st_size + sum(file.stat().st_size for file in set(beside.values()))


def _answers_alike(model: OnnxModel, second: OnnxModel) -> bool:
    signature = model.signature
    axes = {dim for spec in signature.inputs for dim in spec.dims[1:] if isinstance(dim, str)}
    shown = EXACT
    for number, (rows, length) in enumerate(PROBES):
        inputs = synthetic_inputs(signature, rows, number, lengths=dict.fromkeys(axes, length))
        shown = shown.merge(closeness(model.run(inputs), second.run(inputs)))
    return shown.is_exact
