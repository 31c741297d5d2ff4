"""Which execution provider runs a model: asked for, found to work, and never quietly another one.

ONNX Runtime names CUDA as available, and its device as GPU, on machines without either, and falls back to the CPU with
a warning on stderr. So the libraries and the driver are looked for first, and the session is asked afterwards.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

from mlserve.core.settings import Device
from mlserve.errors import Unavailable

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

DRIVER = "libcuda.so.1"
CUDA_LIBRARIES = (
    "libcudart.so.13",
    "libcublas.so.13",
    "libcublasLt.so.13",
    "libcurand.so.10",
    "libcufft.so.12",
    "libcudnn.so.9",
)
TENSORRT_LIBRARIES = ("libnvinfer.so.10", "libnvonnxparser.so.10")

OPTIONS: Mapping[str, Mapping[str, str]] = {
    # Growing by just what is asked keeps memory level when batch sizes vary; HEURISTIC spares each new shape seconds of
    # search; TF32 would cost the answers 13 bits of mantissa.
    CUDA: {
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0",
    },
    TENSORRT: {"trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1"},
    CPU: {},
}

Load = Callable[[str], Any]
Provider = tuple[str, dict[str, str]]


def missing_libraries(names: tuple[str, ...], load: Load = ctypes.CDLL) -> list[str]:
    """Those of ``names`` that the loader cannot open, in order."""
    missing = []
    for name in names:
        try:
            load(name)
        except OSError:
            missing.append(name)
    return missing


def missing_for(provider: str, available: list[str], load: Load = ctypes.CDLL) -> list[str]:
    """What keeps ``provider`` from working here: libraries by name, or the provider itself where it is not built in."""
    if provider == CPU:
        return []
    if provider not in available:
        return [f"{provider} in this build of onnxruntime"]
    needed = (DRIVER, *CUDA_LIBRARIES, *(TENSORRT_LIBRARIES if provider == TENSORRT else ()))
    return missing_libraries(needed, load)


def choose(device: Device, available: list[str], load: Load = ctypes.CDLL) -> list[Provider]:
    """The providers to ask for, best first, the CPU last for the nodes that the device has no kernel for.

    ``available`` is ``onnxruntime.get_available_providers()``. "auto" is CUDA where it is complete, else the CPU;
    TensorRT is only used when asked for, because it builds engines for minutes. Raises Unavailable naming what is
    missing for a device that was asked for.

    >>> choose("cpu", [CPU])
    [('CPUExecutionProvider', {})]
    """
    if device == "cpu":
        return [_with_options(CPU)]
    if device == "auto":
        return [_with_options(name) for name in (CUDA, CPU) if not missing_for(name, available, load)]
    wanted = TENSORRT if device == "tensorrt" else CUDA
    missing = missing_for(wanted, available, load)
    if missing:
        raise Unavailable(
            f"device '{device}' cannot be used here: {', '.join(missing)} not found",
            hint="install the NVIDIA driver, CUDA 13 and cuDNN 9, or use --device cpu",
        )
    chain = (TENSORRT, CUDA, CPU) if device == "tensorrt" else (CUDA, CPU)
    return [_with_options(name) for name in chain]


def check_chosen(device: Device, wanted: list[Provider], actual: list[str]) -> None:
    """Raises Unavailable where a session came up without the device that was asked for by name."""
    if device in ("cuda", "tensorrt") and actual[:1] != [wanted[0][0]]:
        raise Unavailable(
            f"device '{device}' was asked for and onnxruntime fell back to {', '.join(actual)}",
            hint="mlserve doctor",
        )


def _with_options(name: str) -> Provider:
    return name, dict(OPTIONS[name])
