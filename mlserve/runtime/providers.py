"""Which execution provider runs a model: asked for, found to work, and never quietly another one.

ONNX Runtime names CUDA as available, and its device as GPU, on machines without either, and falls back to the CPU with
a warning on stderr. So the libraries and the driver are looked for first, and the session is asked afterwards.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlserve.core.settings import Device
from mlserve.errors import Unavailable

log = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

DRIVER = "libcuda.so.1"
CUDA_LIBRARIES = (
    "libcudart.so.13",
    "libcublasLt.so.13",
    "libcublas.so.13",
    "libcurand.so.10",
    "libcufft.so.12",
    "libcudnn.so.9",
)
TENSORRT_LIBRARIES = ("libnvinfer.so.10", "libnvonnxparser.so.10")
PROVIDER_LIBRARIES: Mapping[str, str] = {
    CUDA: "libonnxruntime_providers_cuda.so",
    TENSORRT: "libonnxruntime_providers_tensorrt.so",
}

PACKAGES: Mapping[str, str] = {
    "libcudart": "nvidia-cuda-runtime",
    "libcublasLt": "nvidia-cublas",
    "libcublas": "nvidia-cublas",
    "libcurand": "nvidia-curand",
    "libcufft": "nvidia-cufft",
    "libcudnn": "nvidia-cudnn-cu13",
    "libnvinfer": "tensorrt-cu13",
    "libnvonnxparser": "tensorrt-cu13",
}
"""The package that pip installs each library with. Those of CUDA 13 have no suffix; cuDNN and TensorRT kept theirs."""

FOLDERS = ("nvidia/cu13/lib", "nvidia/cudnn/lib", "tensorrt_libs")
"""Where those packages put them, beside onnxruntime. The loader does not look there by itself."""

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


def open_library(name: str, site: Path | None = None) -> Any:
    """Open the library ``name`` where the loader finds it, or where pip puts NVIDIA's packages. Raises OSError.

    Once open it stays, and ONNX Runtime's own library finds it by its name.
    """
    try:
        return ctypes.CDLL(name)
    except OSError:
        installed = site_folder() if site is None else site
        path = next((path for folder in FOLDERS if (path := installed / folder / name).is_file()), None)
        if path is None:
            raise
        return ctypes.CDLL(str(path))


def site_folder() -> Path:
    """The folder that onnxruntime is installed in, and what pip installs beside it."""
    spec = find_spec("onnxruntime")
    assert spec is not None, "the package that runs models is installed"
    assert spec.origin is not None, "it is no namespace"
    return Path(spec.origin).parent.parent


def missing_libraries(names: tuple[str, ...], load: Load = open_library) -> list[str]:
    """Those of ``names`` that cannot be opened, in order."""
    missing = []
    for name in names:
        try:
            load(name)
        except OSError:
            missing.append(name)
    return missing


def missing_for(provider: str, available: list[str], load: Load = open_library) -> list[str]:
    """What keeps ``provider`` from working here: libraries by name, or the provider itself where it is not built in."""
    if provider == CPU:
        return []
    if provider not in available:
        return [f"{provider} in this build of onnxruntime ({PROVIDER_LIBRARIES[provider]})"]
    needed = (DRIVER, *CUDA_LIBRARIES, *(TENSORRT_LIBRARIES if provider == TENSORRT else ()))
    return missing_libraries(needed, load)


def how_to_get(missing: list[str]) -> str:
    """What to type, or to see to, for all of ``missing``, as ``missing_for`` names them.

    >>> how_to_get(["libcublasLt.so.13", "libcublas.so.13", "libcudnn.so.9"])
    'pip install nvidia-cublas nvidia-cudnn-cu13'
    """
    steps = []
    if any("in this build" in name for name in missing):
        steps.append("pip install onnxruntime-gpu in place of onnxruntime")
    if DRIVER in missing:
        steps.append("install NVIDIA's driver, 580 or newer (apt install nvidia-driver-580; in a container --gpus all)")
    if any(name in PROVIDER_LIBRARIES.values() for name in missing):
        steps.append("pip install --force-reinstall --no-deps onnxruntime-gpu")
    packages = dict.fromkeys(PACKAGES[stem] for name in missing if (stem := name.split(".")[0]) in PACKAGES)
    if packages:
        steps.append(f"pip install {' '.join(packages)}")
    return "; ".join(steps)


def choose(device: Device, available: list[str], load: Load = open_library) -> list[Provider]:
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
        missing = missing_for(CUDA, available, load)
        if missing and CUDA in available:
            _say_fallback(tuple(missing))
        return [_with_options(name) for name in (CUDA, CPU) if name == CPU or not missing]
    wanted = TENSORRT if device == "tensorrt" else CUDA
    missing = missing_for(wanted, available, load)
    if missing:
        raise Unavailable(
            f"device '{device}' cannot be used here: {', '.join(missing)} not found",
            hint=f"{how_to_get(missing)}; or use --device cpu",
        )
    chain = (TENSORRT, CUDA, CPU) if device == "tensorrt" else (CUDA, CPU)
    return [_with_options(name) for name in chain]


def with_more(providers: list[Provider], options: Mapping[str, Mapping[str, str]]) -> list[Provider]:
    """``providers`` with ``options``, by provider, over those that each has; others of ``options`` are not needed.

    >>> with_more([(CPU, {})], {CUDA: {"enable_cuda_graph": "1"}})
    [('CPUExecutionProvider', {})]
    """
    return [(name, known | dict(options.get(name, {}))) for name, known in providers]


def check_chosen(device: Device, wanted: list[Provider], actual: list[str]) -> None:
    """Raises Unavailable where a session came up without the device that was asked for by name."""
    if device in ("cuda", "tensorrt") and actual[:1] != [wanted[0][0]]:
        raise Unavailable(
            f"device '{device}' was asked for and onnxruntime fell back to {', '.join(actual)}",
            hint="mlserve doctor",
        )


@cache
def _say_fallback(missing: tuple[str, ...]) -> None:
    """Once a process, for every model is loaded the same way."""
    log.info("device 'auto' is the CPU here: %s not found", ", ".join(missing))


def _with_options(name: str) -> Provider:
    return name, dict(OPTIONS[name])
