"""TensorRT's engines: for which shapes they are built, and where they are kept, so that no request ever waits for one.

An engine takes minutes to build. Built without being told which shapes will come, it is built again for the first
request that is larger than those before. So the lattice's smallest and largest run are given as its profile when the
session opens, what lies outside is refused, and what was built is kept by model, GPU and version of TensorRT.
Pure but for ``gpu_arch`` and ``tensorrt_version``, which ask the libraries. Not yet run on a GPU.
Source of the options: onnxruntime.ai, TensorRT execution provider.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import Unavailable
from mlserve.runtime.providers import DRIVER, TENSORRT_LIBRARIES, Load, open_library

LENGTHS = (1, 64, 512)
"""The least, the usual and the largest length of dynamic axes other than the batch."""

CONTEXT_FILE = "model_ctx.onnx"

_COMPUTE_MAJOR, _COMPUTE_MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """The shapes that an engine is built for, by input with a dynamic axis: the least, the usual, the largest."""

    shapes: Mapping[str, tuple[Shape, Shape, Shape]]

    def refusal(self, inputs: Mapping[str, np.ndarray[Any, Any]]) -> str | None:
        """Why ``inputs`` cannot be run without another engine; None where they can."""
        for name, (least, _, largest) in self.shapes.items():
            array = inputs.get(name)
            if array is None:
                continue
            if any(not low <= length <= high for low, length, high in zip(least, array.shape, largest, strict=False)):
                return (
                    f"input '{name}' has shape {list(array.shape)}, and the engine on this server was built for "
                    f"{list(least)} to {list(largest)}"
                )
        return None

    def options(self) -> dict[str, str]:
        """TensorRT's options; none where every shape is fixed."""
        if not self.shapes:
            return {}
        return {
            f"trt_profile_{which}_shapes": ",".join(
                f"{name}:{'x'.join(map(str, shapes[number]))}" for name, shapes in self.shapes.items()
            )
            for number, which in enumerate(("min", "opt", "max"))
        }


def profile_of(signature: Signature, max_rows: int, *, probe_rows: int = 1) -> Profile:
    """The profile of a model that is run with up to ``max_rows`` rows, most often with all of them.

    ``probe_rows`` is the largest run that is made while loading.
    """
    rows = (1, max_rows, max(max_rows, probe_rows))
    dynamic = [spec for spec in signature.inputs if any(not isinstance(dim, int) for dim in spec.dims)]
    return Profile({spec.name: (_at(spec, rows, 0), _at(spec, rows, 1), _at(spec, rows, 2)) for spec in dynamic})


def engine_folder(cache: Path, digest: str, arch: str, version: str, profile: Profile) -> Path:
    """Where the engine of one model is kept: another GPU, TensorRT or profile has another."""
    shapes = sha256(repr(sorted(profile.options().items())).encode()).hexdigest()[:12]
    return cache / "engines" / digest.replace(":", "-") / f"{arch}-trt{version}-{shapes}"


def engine_options(folder: Path, timing: Path, profile: Profile) -> dict[str, str]:
    """TensorRT's options for an engine kept in ``folder``; ``timing`` is the folder of what all builds have measured.

    The engine's own path is relative to the context file: TensorRT's provider takes no other beside one.
    """
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": "engine",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(timing),
        "trt_dump_ep_context_model": "1",
        "trt_ep_context_file_path": str(folder / CONTEXT_FILE),
        **profile.options(),
    }


def context_of(folder: Path) -> Path | None:
    """The model with its engine inside, as an earlier load left it; None where none is."""
    path = folder / CONTEXT_FILE
    return path if path.is_file() else None


def gpu_arch(load: Load = open_library) -> str:
    """The architecture of the first GPU, as in "sm90". Raises Unavailable."""
    try:
        driver = load(DRIVER)
        device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        results = (
            driver.cuInit(0),
            driver.cuDeviceGet(ctypes.byref(device), 0),
            driver.cuDeviceGetAttribute(ctypes.byref(major), _COMPUTE_MAJOR, device),
            driver.cuDeviceGetAttribute(ctypes.byref(minor), _COMPUTE_MINOR, device),
        )
    except OSError as error:
        raise Unavailable(f"{DRIVER} not found", hint="mlserve doctor") from error
    if any(results):
        raise Unavailable(f"the driver answers with error {max(results)}", hint="nvidia-smi")
    return f"sm{major.value}{minor.value}"


def tensorrt_version(load: Load = open_library) -> str:
    """The version of TensorRT as it numbers itself, such as "101300". Raises Unavailable."""
    try:
        return str(load(TENSORRT_LIBRARIES[0]).getInferLibVersion())
    except OSError as error:
        raise Unavailable(f"{TENSORRT_LIBRARIES[0]} not found", hint="mlserve doctor") from error


def _at(spec: TensorSpec, rows: Shape, which: int) -> Shape:
    def length(number: int, dim: int | str | None) -> int:
        if isinstance(dim, int):
            return dim
        return rows[which] if number == 0 else LENGTHS[which]

    return tuple(length(number, dim) for number, dim in enumerate(spec.dims))
