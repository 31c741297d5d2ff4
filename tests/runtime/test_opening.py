"""What a session is opened with on each device; the sessions here are all of the CPU."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from mlserve.errors import InvalidInput
from mlserve.runtime.engines import CONTEXT_FILE
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.opening import ENGINE_ROWS, Engines, Opened, open_on
from mlserve.runtime.providers import CPU, CUDA, TENSORRT
from mlserve.runtime.threads import ThreadPlan
from tests import models

ONE = ThreadPlan(1, 1)


class Loading:
    """Loads on the CPU and notes what was asked for; what ``refuses`` says True to is refused as a session would."""

    def __init__(self, refuses: Any = lambda path, options: False) -> None:
        self.calls: list[tuple[Path, dict[str, dict[str, str]]]] = []
        self.refuses = refuses

    def __call__(self, path: Path, *, options: Any = None, limits: Any = None, source: Any = None, **rest: Any) -> Any:
        self.calls.append((path, options or {}))
        if self.refuses(path, options or {}):
            raise InvalidInput("'m' cannot be loaded: not all nodes are on the device")
        assert rest == {"device": "auto", "threads": ONE, "label": "m:1"}
        return load_model(source or path, device="cpu", threads=ONE, limits=limits)


def opened(
    provider: str, path: Path, loading: Loading, *, cache: Path | None = None, max_batch: int | None = None
) -> Opened:
    def engines() -> Engines:
        assert cache is not None, "only TensorRT has engines"
        return Engines(cache, "sm90", "101300")

    return open_on(
        provider,
        path,
        device="auto",
        threads=ONE,
        label="m:1",
        digest=lambda: "sha256:ab",
        max_batch=max_batch,
        probe_rows=33,
        engines=engines,
        load=loading,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return models.saved(models.classifier(), tmp_path / "model.onnx")


def test_on_the_cpu_nothing_is_asked_for(path: Path) -> None:
    loading = Loading()

    found = opened(CPU, path, loading)

    assert loading.calls == [(path, {})]
    assert (found.graphs, found.max_rows) == ("", None)


def test_on_cuda_graphs_are_captured_where_nothing_is_against_it(path: Path) -> None:
    loading = Loading()

    assert opened(CUDA, path, loading).graphs == "captured"
    assert loading.calls == [(path, {CUDA: {"enable_cuda_graph": "1"}})]


@pytest.mark.parametrize(
    ("proto", "reason"),
    [
        pytest.param(models.with_control_flow(), "If runs as often as values say", id="control flow"),
        pytest.param(models.sequence_lengths(), "has another dynamic axis than the batch (seq)", id="lengths"),
    ],
)
def test_what_cannot_be_captured_is_never_tried_and_says_why(
    proto: onnx.ModelProto, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loading, path = Loading(), models.saved(proto, tmp_path / "model.onnx")

    with caplog.at_level(logging.INFO, "mlserve.runtime.opening"):
        found = opened(CUDA, path, loading)

    assert found.graphs.startswith("refused: ")
    assert found.graphs.endswith(reason)
    assert loading.calls == [(path, {})]
    assert reason in caplog.text


def test_a_session_that_refuses_graphs_is_opened_without(path: Path) -> None:
    loading = Loading(lambda path, options: bool(options))

    found = opened(CUDA, path, loading)

    assert found.graphs == "refused: 'm' cannot be loaded: not all nodes are on the device"
    assert [options for _, options in loading.calls] == [{CUDA: {"enable_cuda_graph": "1"}}, {}]


def test_an_engine_is_built_for_the_largest_run_and_kept_in_folders_that_are_there(path: Path, tmp_path: Path) -> None:
    loading = Loading()

    found = opened(TENSORRT, path, loading, cache=tmp_path, max_batch=48)

    ((_, options),) = loading.calls
    assert options[TENSORRT]["trt_profile_max_shapes"] == "x:48x4"
    assert Path(options[TENSORRT]["trt_ep_context_file_path"]).parent.is_dir()
    assert Path(options[TENSORRT]["trt_timing_cache_path"]).is_dir()
    assert found.max_rows == 48
    with pytest.raises(InvalidInput, match=r"the engine on this server was built for \[1, 4\] to \[48, 4\]"):
        found.model.run({"x": np.ones((49, 4), np.float32)})
    assert opened(TENSORRT, path, Loading(), cache=tmp_path).max_rows == ENGINE_ROWS


def test_the_context_file_of_an_earlier_load_is_opened_in_place_of_the_model(path: Path, tmp_path: Path) -> None:
    first = Loading()
    opened(TENSORRT, path, first, cache=tmp_path)
    context = Path(first.calls[0][1][TENSORRT]["trt_ep_context_file_path"])
    context.touch()

    again = Loading()
    found = opened(TENSORRT, path, again, cache=tmp_path)

    ((file, options),) = again.calls
    assert file == context
    assert context.name == CONTEXT_FILE
    assert "trt_dump_ep_context_model" not in options[TENSORRT]
    assert "Gemm" in found.model.operators, "those of the model, not of its engine"


def test_a_context_file_that_cannot_be_opened_is_thrown_away_and_the_engine_built_again(
    path: Path, tmp_path: Path
) -> None:
    first = Loading()
    opened(TENSORRT, path, first, cache=tmp_path)
    context = Path(first.calls[0][1][TENSORRT]["trt_ep_context_file_path"])
    context.touch()

    again = Loading(lambda file, options: file == context)
    opened(TENSORRT, path, again, cache=tmp_path)

    assert [file for file, _ in again.calls] == [context, path]
    assert not context.exists()


def test_where_a_profile_is_not_taken_the_engine_learns_its_corners_while_loading(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[tuple[int, ...]] = []

    class Watched(Loading):
        def __call__(self, path: Path, **given: Any) -> OnnxModel:
            model: OnnxModel = super().__call__(path, **given)
            run = model.run

            def noted(inputs: Any, outputs: Any = None) -> Any:
                runs.append(inputs["x"].shape)
                return run(inputs, outputs)

            model.run = noted  # type: ignore[method-assign]  # this one is the test's own
            return model

    loading = Watched(lambda file, options: "trt_profile_max_shapes" in options[TENSORRT])
    found = opened(TENSORRT, path, loading, cache=tmp_path, max_batch=40)

    assert not any(name.startswith("trt_profile") for name in loading.calls[-1][1][TENSORRT])
    assert runs == [(1, 4), (40, 4)]
    assert "TensorRT does not take the profile" in caplog.text
    with pytest.raises(InvalidInput, match="was built for"):
        found.model.run({"x": np.ones((41, 4), np.float32)})
