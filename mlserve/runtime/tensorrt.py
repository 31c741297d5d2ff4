"""TensorRT's engines: built when a version is loaded, kept on disk, and never built on a request.

An engine holds for a range of shapes (a profile), for one model, one kind of GPU and one version of TensorRT. Its place
in the cache says which, so that the next load finds it; shapes beyond the profile are refused, since TensorRT would
build for minutes in the middle of a request. Not yet run on a GPU.
Source: ONNX Runtime's documentation of the TensorRT provider (engine cache, timing cache, explicit shapes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mlserve.core.tensors import Dim, Signature
from mlserve.errors import InvalidInput

TYPICAL_LENGTH = 64
LONGEST = 512
"""Of free axes other than the rows: what the engine is tuned for, and what it still takes."""

MOST_ROWS = 64
"""Rows of the largest batch, where nobody says otherwise: the profile has to be known before anything is timed."""


def default_cache() -> Path:
    return Path.home() / ".cache" / "mlserve" / "tensorrt"


def engine_options(signature: Signature, sizes: Sequence[int], digest: str, cache: Path) -> dict[str, str]:
    """The provider's options for a model known by ``digest`` whose batches have ``sizes`` rows.

    The folder of the engines is made. TensorRT itself keeps engines of other GPUs and versions apart by their names.
    """
    folder = cache / digest.removeprefix("sha256:")[:32]
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_engine_cache_prefix": "mlserve",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache),
        "trt_cuda_graph_enable": "1",
    }
    if any(not isinstance(dim, int) for spec in signature.inputs for dim in spec.dims):
        typical = sizes[len(sizes) // 2]
        options["trt_profile_min_shapes"] = _profile(signature, 1, 1)
        options["trt_profile_opt_shapes"] = _profile(signature, typical, TYPICAL_LENGTH)
        options["trt_profile_max_shapes"] = _profile(signature, sizes[-1], LONGEST)
    return options


def check_profile(shapes: Mapping[str, Sequence[int]]) -> None:
    """Refuse shapes that no engine was built for. Raises InvalidInput.

    >>> check_profile({"ids": (8, 128)})
    """
    for name, shape in shapes.items():
        longest = max(shape[1:], default=0)
        if longest > LONGEST:
            raise InvalidInput(
                f"input '{name}' has shape {list(shape)}, and the engine of TensorRT was built for up to {LONGEST}",
                hint="--device cuda takes any shape",
            )


def _profile(signature: Signature, rows: int, length: int) -> str:
    """Shapes as the provider reads them: ``ids:8x64,mask:8x64``."""
    return ",".join(
        f"{spec.name}:" + "x".join(str(_size(dim, axis, rows, length)) for axis, dim in enumerate(spec.dims))
        for spec in signature.inputs
        if spec.dims
    )


def _size(dim: Dim, axis: int, rows: int, length: int) -> int:
    return dim if isinstance(dim, int) else rows if axis == 0 else length
