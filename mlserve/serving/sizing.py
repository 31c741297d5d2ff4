"""At which sizes a version runs, and each of them run before it may answer.

On the CPU any number of rows up to the largest useful run; on a device only the lattice's, in buffers kept for each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from mlserve.errors import MlserveError
from mlserve.runtime.fixed import FixedBatches
from mlserve.runtime.model import Arrays, OnnxModel
from mlserve.runtime.providers import CPU
from mlserve.runtime.warming import sizes_in_order, warm_up
from mlserve.serving.threads import OneThread

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sized:
    """``fixed`` runs the lattice's sizes, None where a run may have any; ``warmed`` are the sizes that were run.

    ``graphs`` is what the metadata says of CUDA graphs, empty where there can be none.
    """

    fixed: FixedBatches | None = None
    warmed: tuple[int, ...] = ()
    graphs: str = ""


def run_every_size(
    model: OnnxModel, samples: Mapping[str, np.ndarray[Any, Any]], max_rows: int, *, budget_s: float, label: str
) -> Sized:
    """All sizes up to ``max_rows`` run on ``samples``, which has as many rows, for ``budget_s`` at most."""
    rows = _first_of(samples)
    return Sized(None, _warmed(lambda count: model.run(rows(count)), sizes_in_order(max_rows), budget_s, label))


def run_lattice(
    model: OnnxModel,
    lattice: tuple[int, ...],
    samples: Mapping[str, np.ndarray[Any, Any]],
    *,
    provider: str,
    graphs: str,
    budget_s: float,
    label: str,
) -> Sized:
    """Buffers for each size of ``lattice``, and each run on ``samples``; a graph of each where ``model`` captures.

    Captures are not bounded by ``budget_s``: what is left out would be captured on a request. Where one goes wrong
    there are none.
    """
    rows = _first_of(samples)
    sizes = sizes_in_order(lattice[-1], lattice)
    device = "cpu" if provider == CPU else "cuda"
    if model.captures_graphs:
        try:
            fixed = _captured(model, lattice, device, rows, sizes)
            return Sized(fixed, tuple(sizes), graphs)
        except MlserveError as error:
            log.warning("%s runs without CUDA graphs: %s", label, error.message)
            graphs = f"refused: a capture went wrong: {error.message}"
    try:
        plain = FixedBatches(model, lattice, device=device)
    except MlserveError as error:
        log.warning("%s runs without buffers of its own: %s", label, error.message)
        return Sized(None, _warmed(lambda count: model.run(rows(count)), sizes, budget_s, label), graphs)
    return Sized(plain, _warmed(lambda count: plain.warm(rows, count), sizes, budget_s, label), graphs)


def _captured(
    model: OnnxModel, lattice: tuple[int, ...], device: str, rows: Callable[[int], Arrays], sizes: list[int]
) -> FixedBatches:
    launcher = OneThread("graphs")
    try:
        fixed = FixedBatches(model, lattice, device=device, captures=True, launcher=launcher)
        warm_up(lambda count: fixed.warm(rows, count), sizes, budget_s=inf)
    except MlserveError:
        launcher.shutdown()
        raise
    return fixed


def _warmed(run: Callable[[int], object], sizes: list[int], budget_s: float, label: str) -> tuple[int, ...]:
    try:
        return warm_up(run, sizes, budget_s=budget_s)
    except MlserveError as error:
        log.warning("%s refused a size of its warm-up: %s", label, error.message)
        return ()


def _first_of(samples: Mapping[str, np.ndarray[Any, Any]]) -> Callable[[int], Arrays]:
    return lambda count: {name: array[:count] for name, array in samples.items()}
