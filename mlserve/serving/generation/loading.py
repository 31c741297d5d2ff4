"""A checkpoint folder becomes a version that can answer: its process started, probed and warm."""

from __future__ import annotations

import logging
from pathlib import Path

from mlserve.checkpoint.config import read_config
from mlserve.checkpoint.packaging import checkpoint_folder, read_manifest
from mlserve.core.settings import Device
from mlserve.errors import InvalidInput, Unsupported
from mlserve.runtime.costs import Costs
from mlserve.runtime.generation.opening import require_packages
from mlserve.runtime.trimming import give_back
from mlserve.serving.generation.intake import GenerationIntake
from mlserve.serving.generation.runner import ChildRunner
from mlserve.serving.loaded import Loaded
from mlserve.serving.loading import Fetched, Wanted
from mlserve.serving.options import LoadOptions

log = logging.getLogger(__name__)

OPEN_LIMIT_S, RUN_LIMIT_S = 600.0, 300.0

RUN_ROWS = 8
"""Texts that go on together where no ``max_batch`` says: on a CPU more make each of them slower."""


def load_checkpoint(wanted: Wanted, fetched: Fetched, options: LoadOptions) -> Loaded:
    """``wanted``, answering from a process of its own.

    Raises MissingExtra without the extra ``llm``, InvalidInput for a folder that cannot be loaded, Unavailable.
    """
    folder = checkpoint_folder(fetched.path)
    if folder is None:
        raise InvalidInput(f"'{fetched.path}' is no checkpoint folder")
    runner = open_runner(
        folder,
        f"{wanted.name}:{wanted.version}",
        device=options.device,
        threads=options.threads.lanes * options.threads.threads_per_run,
        open_limit_s=options.load_timeout_s,
        run_limit_s=options.generate_timeout_s,
    )
    certificate = runner.certificate
    if not certificate.batchable:
        log.warning("%s:%s answers one text at a time: %s", wanted.name, wanted.version, certificate.reason)
    loaded = Loaded(
        wanted.name,
        wanted.version,
        runner,
        certificate,
        # How long a text takes depends on how long it becomes.
        Costs(alpha_s=runner.run_s, beta_s=0.0, has_control_flow=True),
        digest=wanted.digest or read_manifest(folder).digest,
        max_rows=(options.max_batch or RUN_ROWS) if certificate.batchable else 1,
        intake=GenerationIntake(is_batchable=certificate.batchable),
    )
    give_back()
    return loaded


def open_runner(
    folder: Path,
    label: str,
    *,
    device: Device,
    threads: int,
    open_limit_s: float = OPEN_LIMIT_S,
    run_limit_s: float = RUN_LIMIT_S,
) -> ChildRunner:
    """The checkpoint in ``folder``, called ``label`` in errors, in a process with ``threads``. Raises as above."""
    read_config(folder)
    require_packages()
    if device == "tensorrt":
        raise Unsupported("a checkpoint folder runs on cpu or cuda, not on tensorrt")
    opening = {"ask": "open", "folder": str(folder), "label": label, "device": device, "threads": threads}
    return ChildRunner(opening, open_limit_s=open_limit_s, run_limit_s=run_limit_s)
