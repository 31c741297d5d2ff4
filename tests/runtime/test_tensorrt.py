"""TensorRT's options: where engines are kept, for which shapes, and what is refused. No engine is built here."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.errors import InvalidInput
from mlserve.runtime.lattice import lattice
from mlserve.runtime.tensorrt import check_profile, engine_options

TEXT = Signature(
    (TensorSpec("ids", DType.INT64, ("batch", "length")), TensorSpec("mask", DType.INT64, ("batch", "length"))),
    (TensorSpec("y", DType.FLOAT32, ("batch", 384)),),
)


def test_an_engine_has_its_place_by_the_models_digest(tmp_path: Path) -> None:
    one = engine_options(TEXT, lattice(8), "sha256:" + "a" * 64, tmp_path)
    other = engine_options(TEXT, lattice(8), "sha256:" + "b" * 64, tmp_path)

    assert one["trt_engine_cache_enable"] == one["trt_timing_cache_enable"] == "1"
    assert one["trt_engine_cache_path"] != other["trt_engine_cache_path"]
    assert one["trt_timing_cache_path"] == other["trt_timing_cache_path"]
    assert Path(one["trt_engine_cache_path"]).is_dir()


def test_the_profile_has_every_batch_and_length_that_is_served(tmp_path: Path) -> None:
    options = engine_options(TEXT, lattice(16), "d", tmp_path)

    assert options["trt_profile_min_shapes"] == "ids:1x1,mask:1x1"
    assert options["trt_profile_opt_shapes"] == "ids:4x64,mask:4x64"
    assert options["trt_profile_max_shapes"] == "ids:16x512,mask:16x512"


def test_fixed_shapes_need_no_profile(tmp_path: Path) -> None:
    fixed = Signature((TensorSpec("x", DType.FLOAT32, (1, 4)),), (TensorSpec("y", DType.FLOAT32, (1, 3)),))

    assert not [name for name in engine_options(fixed, (1,), "d", tmp_path) if "profile" in name]


def test_shapes_that_would_build_an_engine_in_a_request_are_refused() -> None:
    check_profile({"ids": (64, 512)})
    with pytest.raises(InvalidInput, match=r"'ids' has shape \[1, 513\]"):
        check_profile({"ids": (1, 513)})
