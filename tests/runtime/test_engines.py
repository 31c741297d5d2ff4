"""TensorRT's engines: built for what the lattice runs, kept by what they depend on, and nothing outside is run."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import Unavailable
from mlserve.runtime.engines import (
    Profile,
    context_of,
    engine_folder,
    engine_options,
    gpu_arch,
    profile_of,
    tensorrt_version,
)

TEXT = Signature(
    (
        TensorSpec("ids", DType.INT64, ("batch", "seq")),
        TensorSpec("scale", DType.FLOAT32, (1,)),
        TensorSpec("x", DType.FLOAT32, ("batch", 3)),
    ),
    (),
)


def test_a_profile_reaches_from_one_row_to_the_largest_run() -> None:
    options = profile_of(TEXT, 16, probe_rows=33).options()

    assert options == {
        "trt_profile_min_shapes": "ids:1x1,x:1x3",
        "trt_profile_opt_shapes": "ids:16x64,x:16x3",
        "trt_profile_max_shapes": "ids:33x512,x:33x3",
    }


def test_a_model_of_fixed_shapes_needs_no_profile() -> None:
    fixed = Signature((TensorSpec("x", DType.FLOAT32, (1, 3)),), ())

    assert profile_of(fixed, 16).options() == {}
    assert profile_of(fixed, 16).refusal({"x": np.ones((9, 9))}) is None


@pytest.mark.parametrize(
    ("shape", "is_refused"),
    [
        pytest.param((1, 1), False, id="least"),
        pytest.param((33, 512), False, id="largest"),
        pytest.param((34, 8), True, id="rows"),
        pytest.param((1, 513), True, id="length"),
        pytest.param((0, 8), True, id="no rows"),
    ],
)
def test_what_an_engine_was_not_built_for_is_refused(shape: tuple[int, int], is_refused: bool) -> None:
    refusal = profile_of(TEXT, 16, probe_rows=33).refusal({"ids": np.zeros(shape, np.int64)})

    assert (refusal is not None) is is_refused
    if refusal is not None:
        assert refusal == (
            f"input 'ids' has shape {list(shape)}, and the engine on this server was built for [1, 1] to [33, 512]"
        )


def test_an_engine_is_kept_by_model_gpu_version_and_profile(tmp_path: Path) -> None:
    profile, other = profile_of(TEXT, 16), profile_of(TEXT, 32)

    folders = [
        engine_folder(tmp_path, "sha256:ab", "sm90", "101300", profile),
        engine_folder(tmp_path, "sha256:cd", "sm90", "101300", profile),
        engine_folder(tmp_path, "sha256:ab", "sm89", "101300", profile),
        engine_folder(tmp_path, "sha256:ab", "sm90", "101200", profile),
        engine_folder(tmp_path, "sha256:ab", "sm90", "101300", other),
    ]

    assert len(set(folders)) == len(folders)
    assert all(folder.is_relative_to(tmp_path / "engines") and ":" not in str(folder) for folder in folders)
    assert engine_folder(tmp_path, "sha256:ab", "sm90", "101300", profile_of(TEXT, 16)) == folders[0]


def test_options_keep_engine_timing_and_context_and_are_text(tmp_path: Path) -> None:
    options = engine_options(tmp_path / "m", tmp_path / "timing", profile_of(TEXT, 16))

    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "1"
    assert options["trt_timing_cache_path"] == str(tmp_path / "timing")
    assert options["trt_ep_context_file_path"] == str(tmp_path / "m" / "model_ctx.onnx")
    assert not Path(options["trt_engine_cache_path"]).is_absolute(), "beside a context file it must be relative"
    assert "trt_profile_max_shapes" in options
    assert all(isinstance(value, str) for value in options.values())


def test_a_context_file_is_taken_where_an_earlier_load_left_one(tmp_path: Path) -> None:
    assert context_of(tmp_path) is None

    (tmp_path / "model_ctx.onnx").touch()

    assert context_of(tmp_path) == tmp_path / "model_ctx.onnx"


class Driver:
    """Answers as libcuda and libnvinfer do."""

    def __init__(self, status: int = 0) -> None:
        self.status = status

    def cuInit(self, flags: int) -> int:
        return self.status

    def cuDeviceGet(self, device: Any, number: int) -> int:
        return 0

    def cuDeviceGetAttribute(self, place: Any, attribute: int, device: ctypes.c_int) -> int:
        ctypes.cast(place, ctypes.POINTER(ctypes.c_int))[0] = {75: 8, 76: 9}[attribute]
        return 0

    def getInferLibVersion(self) -> int:
        return 101300


def nothing(name: str) -> Any:
    raise OSError(name)


def test_gpu_and_version_are_asked_of_the_libraries() -> None:
    assert gpu_arch(lambda name: Driver()) == "sm89"
    assert tensorrt_version(lambda name: Driver()) == "101300"


def test_without_a_driver_or_library_that_is_said() -> None:
    with pytest.raises(Unavailable, match=r"libcuda\.so\.1 not found"):
        gpu_arch(nothing)
    with pytest.raises(Unavailable, match="error 100"):
        gpu_arch(lambda name: Driver(100))
    with pytest.raises(Unavailable, match=r"libnvinfer\.so\.10 not found"):
        tensorrt_version(nothing)


def test_an_input_without_a_profile_or_that_is_missing_is_not_the_profiles_to_refuse() -> None:
    assert Profile({"ids": ((1, 1), (1, 1), (2, 2))}).refusal({"other": np.zeros((9, 9))}) is None
