"""Several sessions of one model that hold its weights once.

ONNX Runtime packs weights for its kernels, a copy for each session, and from Python has no container to share them in.
It can write a model out with the packed weights beside it, and map those into memory when it loads that: then all
sessions of the file, in any process, have the same pages. The file is for this machine alone and is deleted as soon as
the sessions are open; the mapping stays.
Source: onnxruntime_session_options_config_keys.h, session.save_external_prepacked_constant_initializers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime as ort

from mlserve.errors import MlserveError, Unavailable
from mlserve.runtime.model import OnnxModel, as_ours, load_model, session_options
from mlserve.runtime.providers import CPU
from mlserve.runtime.threads import ThreadPlan

LEAST_BYTES = 1024
"""Tensors below it stay in the model itself."""


def open_sharing(path: Path, plans: Sequence[ThreadPlan]) -> list[OnnxModel]:
    """One session of the model in ``path`` for each plan, on the CPU, that share its weights.

    Takes about two loads, and room on disk for the weights and what they are packed to while it lasts. Raises as
    ``load_model``, and Unavailable where the disk has no room.
    """
    opened: list[OnnxModel] = []
    try:
        with TemporaryDirectory(prefix="mlserve-") as folder, as_ours():
            packed = Path(folder, "model.onnx")
            _write_packed(path, packed, plans[0])
            for plan in plans:
                opened.append(load_model(packed, device="cpu", threads=plan, source=path))
    except OSError as error:
        _close(opened)
        raise Unavailable(f"weights cannot be packed to disk: {error.strerror or error}") from error
    except MlserveError:
        _close(opened)
        raise
    return opened


def _write_packed(path: Path, packed: Path, plan: ThreadPlan) -> None:
    options = session_options(plan, path)
    options.optimized_model_filepath = str(packed)
    for name, value in (
        ("session.optimized_model_external_initializers_file_name", "weights.bin"),
        ("session.optimized_model_external_initializers_min_size_in_bytes", str(LEAST_BYTES)),
        ("session.save_external_prepacked_constant_initializers", "1"),
    ):
        options.add_session_config_entry(name, value)
    ort.InferenceSession(path, options, providers=[CPU])


def _close(models: Sequence[OnnxModel]) -> None:
    for model in models:
        model.close()
