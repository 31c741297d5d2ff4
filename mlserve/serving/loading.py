"""From a version that is wanted to one that can answer: fetch, load, certify, check golden rows, warm up.

Runs in a thread beside the serving ones, and may take as long as it takes; the version it replaces answers meanwhile.

    fetch ─► open ─► golden rows ─► certificate ─► costs ─► sizes of a run ─► each of them run ─► Loaded
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mlserve.checkpoint.generation import KIND
from mlserve.checkpoint.packaging import checkpoint_folder
from mlserve.core.digests import digest_file
from mlserve.errors import MlserveError
from mlserve.runtime.certificate import PROBE_ROWS, Certificate, certify, with_padding
from mlserve.runtime.costs import MANY, Costs, measure
from mlserve.runtime.engines import gpu_arch, tensorrt_version
from mlserve.runtime.filling import Filling, decide_filling, gain_of, measure_lengths
from mlserve.runtime.golden import check_golden, golden_rows, read_golden
from mlserve.runtime.lattice import lattice_of
from mlserve.runtime.lone import Lone, open_lone
from mlserve.runtime.machine import machine_here
from mlserve.runtime.model import Arrays, OnnxModel, first_provider
from mlserve.runtime.opening import Engines, Opened, open_on
from mlserve.runtime.padding import Padding
from mlserve.runtime.providers import CPU
from mlserve.runtime.samples import synthetic_inputs
from mlserve.runtime.trimming import give_back
from mlserve.runtime.tuned import TunedProfile, profile_for
from mlserve.serving.buckets import GROWTH
from mlserve.serving.loaded import Loaded
from mlserve.serving.options import LoadOptions, with_profile
from mlserve.serving.runners import LOADERS
from mlserve.serving.sizing import Sized, run_every_size, run_lattice

log = logging.getLogger(__name__)

UNKNOWN_COSTS = Costs(alpha_s=1e-3, beta_s=1e-3, has_control_flow=True)
"""For a model that could not be timed: in a lane, where no run keeps anybody else waiting."""

CERTIFY_SHARE, COSTS_SHARE, LENGTHS_SHARE, SIZES_SHARE = 0.3, 0.4, 0.1, 0.2
"""What of the time to warm up each part may take."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A version's files on this machine, verified, with what the registry knows of it.

    ``profiles`` are what ``tune`` found for it, here and on other machines.
    """

    path: Path
    golden: bytes | None = None
    certificate: Certificate | None = None
    profiles: Sequence[TunedProfile] = ()

    @property
    def kind(self) -> str:
        """What is to run it, a name in ``runners.LOADERS``."""
        return "onnx" if checkpoint_folder(self.path) is None else KIND


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


def load_version(wanted: Wanted, options: LoadOptions) -> Loaded:
    """``wanted``, loaded and warm, by the runner of its kind. Raises what fetching and loading raise."""
    fetched = wanted.fetch()
    loaded: Loaded = LOADERS[fetched.kind](wanted, fetched, options)
    return loaded


def load_onnx(wanted: Wanted, fetched: Fetched, options: LoadOptions) -> Loaded:
    """``wanted`` in a session of ONNX Runtime. Raises what ``load_model`` raises, and InvalidInput for golden rows that
    get other answers than they did."""
    options = _tuned(wanted, fetched, options)
    opened = _opened(wanted, fetched, options)
    model = opened.model
    rows = None
    if fetched.golden is not None:
        check_golden(model, fetched.golden)
        rows = read_golden(fetched.golden, model)[0]
    certificate = _certificate(fetched, model, rows, options)
    costs = _costs(model, rows, certificate.batchable, wanted, options.warmup_s * COSTS_SHARE)
    filling = _filling(wanted, model, certificate, options)
    max_rows = _max_rows(opened, certificate, costs, options)
    lone = _lone(model, fetched.path, costs, options)
    if lone is not None and lone.main is not None:
        model.close()
        model = lone.main
    sized = Sized() if costs is UNKNOWN_COSTS else _sized(wanted, opened, model, rows, certificate, max_rows, options)
    loaded = Loaded(
        wanted.name,
        wanted.version,
        model,
        certificate,
        costs,
        digest=wanted.digest or digest_file(fetched.path),
        max_rows=max_rows,
        filling=filling,
        lone=lone,
        sized=sized,
        lanes=options.lanes,
        max_delay_s=options.max_delay_s,
        tuned=options.tuned,
    )
    loaded.computes_all = options.all_outputs
    give_back()
    return loaded


@cache
def engines_in(folder: Path) -> Engines:
    """Where TensorRT's engines for the GPU of this machine are kept below ``folder``. Raises Unavailable."""
    return Engines(folder, gpu_arch(), tensorrt_version())


def _tuned(wanted: Wanted, fetched: Fetched, options: LoadOptions) -> LoadOptions:
    """``options`` with the version's own profile, if there is one that was measured on such a machine."""
    if options.tuned_cores is None or not fetched.profiles:
        return options
    here = machine_here(first_provider(options.device), options.tuned_cores)
    profile = profile_for(here, fetched.profiles)
    if profile is None:
        return options
    options = with_profile(options, profile)
    if options.tuned:
        log.info("%s:%s runs as tuned: %s", wanted.name, wanted.version, options.tuned)
    return options


def _opened(wanted: Wanted, fetched: Fetched, options: LoadOptions) -> Opened:
    # A file is known by its path; where the registry keeps its own is nobody's business.
    label = None if wanted.digest is None else f"{wanted.name}:{wanted.version}"
    golden = 0 if fetched.golden is None else golden_rows(fetched.golden)
    return open_on(
        first_provider(options.device),
        fetched.path,
        device=options.device,
        threads=options.threads,
        label=label,
        digest=lambda: wanted.digest or digest_file(fetched.path),
        max_batch=options.max_batch,
        probe_rows=max(PROBE_ROWS, MANY, golden),
        engines=lambda: engines_in(options.engines or Path.home() / ".cache" / "mlserve"),
    )


def _certificate(
    fetched: Fetched, model: OnnxModel, rows: Mapping[str, np.ndarray[Any, Any]] | None, options: LoadOptions
) -> Certificate:
    certificate = fetched.certificate
    if certificate is None or not certificate.holds_for(model.providers[0], model.threads):
        certificate = certify(model, rows=rows, budget_s=options.warmup_s * CERTIFY_SHARE)
    return certificate if options.length_buckets == "off" else with_padding(certificate, model, rows=rows)


def _costs(
    model: OnnxModel, rows: Mapping[str, np.ndarray[Any, Any]] | None, batchable: bool, wanted: Wanted, budget_s: float
) -> Costs:
    try:
        inputs = _samples(model, rows, MANY, batchable)
        return measure(model, inputs, batchable=batchable, budget_s=budget_s)
    except MlserveError as error:
        log.warning("%s:%s refused the warm-up rows made up for it: %s", wanted.name, wanted.version, error.message)
        return UNKNOWN_COSTS


def _max_rows(opened: Opened, certificate: Certificate, costs: Costs, options: LoadOptions) -> int:
    if not certificate.batchable:
        return 1
    wanted = options.max_batch or costs.useful_rows()
    return wanted if opened.max_rows is None else min(wanted, opened.max_rows)


def _filling(wanted: Wanted, model: OnnxModel, certificate: Certificate, options: LoadOptions) -> Filling:
    padding: Padding | None = certificate.padding if certificate.batchable else None
    asked, gain = options.length_buckets, None
    if asked == "auto" and padding is not None and padding.is_inert:
        costs = measure_lengths(model, padding, budget_s=options.warmup_s * LENGTHS_SHARE)
        gain = gain_of(costs, filled_share=(GROWTH - 1) / 2)
    filling = decide_filling(asked, padding, gain)
    if asked == "on" and padding is not None and not filling.is_used:
        log.warning("%s:%s has no length buckets: %s", wanted.name, wanted.version, padding.reason)
    return filling


def _lone(model: OnnxModel, path: Path, costs: Costs, options: LoadOptions) -> Lone | None:
    if not options.lone_max_bytes or costs.is_inline:
        return None
    return open_lone(model, path, device=options.device, plan=options.threads, max_bytes=options.lone_max_bytes)


def _sized(
    wanted: Wanted,
    opened: Opened,
    model: OnnxModel,
    rows: Mapping[str, np.ndarray[Any, Any]] | None,
    certificate: Certificate,
    max_rows: int,
    options: LoadOptions,
) -> Sized:
    if not certificate.batchable:
        alone = "refused: rows of requests do not share runs"
        return Sized(None, (1,), alone if opened.graphs == "captured" else opened.graphs)
    samples = _samples(model, rows, max_rows, batchable=True)
    label, budget_s = f"{wanted.name}:{wanted.version}", options.warmup_s * SIZES_SHARE
    provider = model.providers[0]
    if not (provider != CPU if options.has_lattice is None else options.has_lattice):
        return run_every_size(model, samples, max_rows, budget_s=budget_s, label=label)
    lattice = lattice_of(max_rows, options.preferred)
    return run_lattice(model, lattice, samples, provider=provider, graphs=opened.graphs, budget_s=budget_s, label=label)


def _samples(model: OnnxModel, rows: Mapping[str, np.ndarray[Any, Any]] | None, count: int, batchable: bool) -> Arrays:
    count = count if batchable else 1
    return _resized(model, rows, count) if rows else synthetic_inputs(model.signature, count, seed=0)


def _resized(model: OnnxModel, rows: Mapping[str, np.ndarray[Any, Any]], count: int) -> Arrays:
    """``count`` rows, those given repeated where they are fewer; as they are where axis 0 is not free, or empty."""
    is_free = all(spec.dims and not isinstance(spec.dims[0], int) for spec in model.signature.inputs)
    if not is_free or any(len(array) == 0 for array in rows.values()):
        return dict(rows)
    return {name: np.resize(array, (count, *array.shape[1:])) for name, array in rows.items()}
