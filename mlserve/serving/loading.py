"""From a version that is wanted to one that can answer: fetch, load, certify, check golden rows, warm up.

Runs in a thread beside the serving ones, and may take as long as it takes; the version it replaces answers meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlserve.core.digests import digest_file
from mlserve.core.settings import Device
from mlserve.errors import MlserveError
from mlserve.runtime.certificate import Certificate, certify, with_padding
from mlserve.runtime.costs import MANY, Costs, measure
from mlserve.runtime.golden import check_golden, read_golden
from mlserve.runtime.lone import open_lone
from mlserve.runtime.model import Arrays, OnnxModel, load_model
from mlserve.runtime.samples import synthetic_inputs
from mlserve.runtime.threads import ThreadPlan
from mlserve.serving.loaded import Loaded

log = logging.getLogger(__name__)

UNKNOWN_COSTS = Costs(alpha_s=1e-3, beta_s=1e-3, has_control_flow=True)
"""For a model that could not be timed: in a lane, where no run keeps anybody else waiting."""

CERTIFY_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Fetched:
    """A version's files on this machine, verified, with what the registry knows of it."""

    path: Path
    golden: bytes | None = None
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A version that should be loaded, and the stages it holds. ``fetch`` does I/O and raises what I/O raises.

    ``generation`` is the largest of its stages' generations: a version that could not be loaded is tried again when it
    grows. ``traffic`` is the challenger's share of the requests, from 0 to 1.
    """

    name: str
    version: int
    stages: tuple[str, ...]
    digest: str | None
    fetch: Callable[[], Fetched]
    generation: int = 0
    traffic: float = 0.0


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How versions are loaded in this server. ``max_batch`` in rows, None for what the measured costs say.

    ``lone_max_bytes`` is the size of the largest model that gets a second session, 0 for none.
    """

    device: Device
    threads: ThreadPlan
    max_batch: int | None
    warmup_s: float
    length_buckets: bool = True
    lone_max_bytes: int = 0


def load_version(wanted: Wanted, options: LoadOptions) -> Loaded:
    """``wanted``, loaded and warm. Raises what fetching and ``load_model`` raise, and InvalidInput for golden rows
    that get other answers than they did."""
    fetched = wanted.fetch()
    # A file is known by its path; where the registry keeps its own is nobody's business.
    label = None if wanted.digest is None else f"{wanted.name}:{wanted.version}"
    model = load_model(fetched.path, device=options.device, threads=options.threads, label=label)
    rows = None
    if fetched.golden is not None:
        check_golden(model, fetched.golden)
        rows = read_golden(fetched.golden, model)[0]
    certificate = fetched.certificate
    if certificate is None or not certificate.holds_for(model.providers[0], model.threads):
        certificate = certify(model, rows=rows, budget_s=options.warmup_s * CERTIFY_SHARE)
    if options.length_buckets:
        certificate = with_padding(certificate, model, rows=rows)
    costs = _warmed_up(model, rows, certificate.batchable, wanted, options.warmup_s * (1 - CERTIFY_SHARE))
    lone = None
    if options.lone_max_bytes and not costs.is_inline:
        lone = open_lone(
            model, fetched.path, device=options.device, plan=options.threads, max_bytes=options.lone_max_bytes
        )
    return Loaded(
        wanted.name,
        wanted.version,
        model,
        certificate,
        costs,
        digest=wanted.digest or digest_file(fetched.path),
        max_rows=options.max_batch,
        has_buckets=options.length_buckets,
        lone=lone,
    )


def _warmed_up(
    model: OnnxModel, rows: Mapping[str, np.ndarray[Any, Any]] | None, batchable: bool, wanted: Wanted, budget_s: float
) -> Costs:
    try:
        count = MANY if batchable else 1
        inputs = _resized(model, rows, count) if rows else synthetic_inputs(model.signature, count, seed=0)
        return measure(model, inputs, batchable=batchable, budget_s=budget_s)
    except MlserveError as error:
        log.warning("%s:%s refused the warm-up rows made up for it: %s", wanted.name, wanted.version, error.message)
        return UNKNOWN_COSTS


def _resized(model: OnnxModel, rows: Mapping[str, np.ndarray[Any, Any]], count: int) -> Arrays:
    """``count`` rows, those given repeated where they are fewer; as they are where axis 0 is not free, or empty."""
    is_free = all(spec.dims and not isinstance(spec.dims[0], int) for spec in model.signature.inputs)
    if not is_free or any(len(array) == 0 for array in rows.values()):
        return dict(rows)
    return {name: np.resize(array, (count, *array.shape[1:])) for name, array in rows.items()}
