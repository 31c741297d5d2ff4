"""Devices: what is asked for, what is there, and nothing quietly instead."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlserve.errors import Unavailable
from mlserve.runtime.providers import (
    CPU,
    CUDA,
    CUDA_LIBRARIES,
    DRIVER,
    FOLDERS,
    OPTIONS,
    TENSORRT,
    TENSORRT_LIBRARIES,
    check_chosen,
    choose,
    how_to_get,
    open_library,
)

EVERYTHING = [TENSORRT, CUDA, CPU]


def with_gpu(name: str) -> object:
    return name


def without_gpu(name: str) -> object:
    raise OSError(name)


def names(chosen: list[tuple[str, dict[str, str]]]) -> list[str]:
    return [name for name, _ in chosen]


def test_auto_is_cuda_where_it_is_complete_and_else_the_cpu() -> None:
    assert names(choose("auto", EVERYTHING, with_gpu)) == [CUDA, CPU]
    assert names(choose("auto", EVERYTHING, without_gpu)) == [CPU]
    assert names(choose("auto", [CPU], with_gpu)) == [CPU]


def test_the_cpu_is_taken_although_there_is_a_gpu() -> None:
    assert names(choose("cpu", EVERYTHING, with_gpu)) == [CPU]


def test_tensorrt_falls_through_to_cuda_and_the_cpu_by_node() -> None:
    assert names(choose("tensorrt", EVERYTHING, with_gpu)) == [TENSORRT, CUDA, CPU]


def test_a_device_that_is_missing_names_every_library() -> None:
    with pytest.raises(Unavailable) as caught:
        choose("cuda", EVERYTHING, without_gpu)

    assert all(library in caught.value.message for library in (DRIVER, *CUDA_LIBRARIES))


def test_a_build_without_the_provider_is_said() -> None:
    with pytest.raises(Unavailable, match="TensorrtExecutionProvider in this build"):
        choose("tensorrt", [CUDA, CPU], with_gpu)


def test_one_library_that_is_missing_is_the_one_named() -> None:
    def without_cudnn(name: str) -> object:
        return without_gpu(name) if "cudnn" in name else name

    with pytest.raises(Unavailable, match=r"cannot be used here: libcudnn\.so\.9 not found"):
        choose("cuda", EVERYTHING, without_cudnn)


def test_a_silent_fall_back_is_an_error_for_a_device_named_and_not_for_auto() -> None:
    wanted = choose("cuda", EVERYTHING, with_gpu)

    with pytest.raises(Unavailable, match="fell back to CPUExecutionProvider"):
        check_chosen("cuda", wanted, [CPU])
    check_chosen("cuda", wanted, [CUDA, CPU])
    check_chosen("auto", wanted, [CPU])


def test_options_are_text_as_onnxruntime_wants_them() -> None:
    assert all(isinstance(value, str) for options in OPTIONS.values() for value in options.values())
    assert OPTIONS[CUDA]["use_tf32"] == "0"


def test_every_library_that_is_missing_has_a_way_to_get_it() -> None:
    for library in (DRIVER, *CUDA_LIBRARIES, *TENSORRT_LIBRARIES):
        assert how_to_get([library])
    with pytest.raises(Unavailable) as caught:
        choose("cuda", [CPU], with_gpu)
    assert "libonnxruntime_providers_cuda.so" in caught.value.message
    assert str(caught.value.hint).startswith("pip install onnxruntime-gpu")


def test_a_library_that_pip_installed_counts_although_the_loader_does_not_look_there(tmp_path: Path) -> None:
    import _ctypes

    folder = tmp_path / FOLDERS[0]
    folder.mkdir(parents=True)
    shutil.copy(_ctypes.__file__, folder / "libmade_up.so.13")

    assert open_library("libmade_up.so.13", tmp_path)._name == str(folder / "libmade_up.so.13")
    with pytest.raises(OSError, match="libnowhere"):
        open_library("libnowhere.so.13", tmp_path)


def test_auto_says_once_that_it_is_the_cpu_and_why(caplog: pytest.LogCaptureFixture) -> None:
    def without_only(name: str) -> object:
        return without_gpu(name) if name == "libcufft.so.12" else name

    with caplog.at_level("INFO", "mlserve.runtime.providers"):
        choose("auto", EVERYTHING, without_only)
        choose("auto", EVERYTHING, without_only)

    assert [record.getMessage() for record in caplog.records] == [
        "device 'auto' is the CPU here: libcufft.so.12 not found"
    ]
