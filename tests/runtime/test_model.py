"""Loading and running: every type through, every error ours."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput, MlserveError, NotFound, Unavailable, Unsupported
from mlserve.runtime import model as module
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.samples import synthetic_inputs
from tests import models


def loaded(model: onnx.ModelProto) -> OnnxModel:
    return load_model(model.SerializeToString(), device="cpu")


@pytest.mark.parametrize(
    "dtype",
    [
        DType.FLOAT32, DType.FLOAT64, DType.FLOAT16, DType.BFLOAT16, DType.FLOAT8E4M3FN, DType.FLOAT8E5M2, DType.BOOL,
        DType.INT8, DType.INT16, DType.INT32, DType.INT64, DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64,
        DType.STRING,
    ],
)  # fmt: skip
def test_every_type_comes_back_as_it_went_in(dtype: DType) -> None:
    model = loaded(models.echo(dtype))

    for rows in (0, 1, 3):
        given = synthetic_inputs(model.signature, rows, seed=1)["x"]
        answer = model.run({"x": given})["y"]

        assert answer.dtype == dtype.numpy
        assert answer.shape == given.shape
        assert np.array_equal(answer, given)


def two_echoes(first: DType, second: DType) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["a"], ["c"]), helper.make_node("Identity", ["b"], ["d"])],
        "g",
        [value("a", first.onnx, ["n"]), value("b", second.onnx, ["n"])],
        [value("c", first.onnx, ["n"]), value("d", second.onnx, ["n"])],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def test_types_that_numpy_lacks_mix_with_those_it_has() -> None:
    model = loaded(two_echoes(DType.BFLOAT16, DType.INT64))

    answer = model.run({"a": np.ones(2, DType.BFLOAT16.numpy), "b": np.array([3, 4])})

    assert answer["c"].tolist() == [1, 1]
    assert answer["d"].tolist() == [3, 4]
    with pytest.raises(InvalidInput, match="float32 was given where the model takes bfloat16"):
        model.run({"a": np.ones(2, np.float32), "b": np.array([3, 4])})


def test_strings_beside_types_that_numpy_lacks_are_unsupported() -> None:
    with pytest.raises(Unsupported, match="string inputs beside"):
        loaded(two_echoes(DType.BFLOAT16, DType.STRING))


def test_the_signature_is_the_graphs() -> None:
    signature = loaded(models.labelled_classifier()).signature

    assert [(spec.name, spec.dtype, spec.dims) for spec in signature.inputs] == [("x", DType.FLOAT32, ("batch", 4))]
    assert [spec.name for spec in signature.outputs] == ["label", "probabilities"]
    assert loaded(models.echo(DType.FLOAT32, (None, 2))).signature.inputs[0].dims == (None, 2)


def test_outputs_can_be_chosen() -> None:
    model = loaded(models.labelled_classifier())

    answer = model.run({"x": np.ones((1, 4), np.float32)}, ["probabilities"])

    assert list(answer) == ["probabilities"]


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param({"x": np.ones((1, 3), np.float32)}, id="shape"),
        pytest.param({"x": np.ones((1, 4), np.float64)}, id="type"),
        pytest.param({"z": np.ones((1, 4), np.float32)}, id="name"),
        pytest.param({}, id="nothing"),
        pytest.param({"x": "text"}, id="no array"),
    ],
)
def test_inputs_that_do_not_fit_are_invalid_input_and_nothing_is_printed(
    inputs: dict[str, np.ndarray], capfd: pytest.CaptureFixture[str]
) -> None:
    model = loaded(models.classifier())

    with pytest.raises(InvalidInput) as caught:
        model.run(inputs)

    assert "[ONNXRuntimeError]" not in caught.value.message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "content", [b"", b"garbage", models.classifier().SerializeToString()[:60]], ids=["empty", "garbage", "cut"]
)
def test_what_is_no_model_is_invalid_input(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "bad.onnx"
    file.write_bytes(content)

    with pytest.raises(InvalidInput, match=r"bad\.onnx' cannot be loaded"):
        load_model(file)
    with pytest.raises(InvalidInput, match="the model cannot be loaded"):
        load_model(content)


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file"):
        load_model(tmp_path / "none.onnx")


def test_external_data_is_read_beside_the_file_and_missing_data_is_said(tmp_path: Path) -> None:
    path = models.save_with_external_data(tmp_path / "model.onnx")
    rows = {"x": np.ones((2, 4), np.float32)}

    answer = load_model(path, device="cpu").run(rows)

    assert np.array_equal(answer["probabilities"], loaded(models.classifier(seed=0)).run(rows)["probabilities"])
    assert "Gemm" in load_model(path, device="cpu").operators
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(InvalidInput):
        load_model(path, device="cpu")


def test_sequences_are_unsupported_by_name() -> None:
    graph = helper.make_graph(
        [helper.make_node("SequenceConstruct", ["x"], ["s"])],
        "g",
        [helper.make_tensor_value_info("x", 1, ["n"])],
        [helper.make_tensor_sequence_value_info("s", 1, None)],
    )

    with pytest.raises(Unsupported, match="output 's' is seq"):
        loaded(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]))


def test_types_below_a_byte_are_unsupported() -> None:
    cast = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["y"], to=onnx.TensorProto.INT4)],
        "g",
        [helper.make_tensor_value_info("x", 1, ["n"])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.INT4, ["n"])],
    )

    with pytest.raises(Unsupported, match="int4"):
        loaded(helper.make_model(cast, ir_version=10, opset_imports=[helper.make_opsetid("", 21)]))


def test_a_closed_model_is_unavailable() -> None:
    model = loaded(models.classifier())

    model.close()
    model.close()

    with pytest.raises(Unavailable, match="unloaded"):
        model.run({"x": np.ones((1, 4), np.float32)})


def test_threads_may_run_one_model_at_once() -> None:
    model = loaded(models.classifier())
    rows = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    whole = model.run({"x": rows})["probabilities"]

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda i: model.run({"x": rows[i : i + 1]})["probabilities"], range(64)))

    assert np.allclose(np.concatenate(parts), whole, atol=1e-6)


def test_a_device_that_is_not_there_is_unavailable_with_what_is_missing() -> None:
    with pytest.raises(Unavailable) as caught:
        load_model(models.classifier().SerializeToString(), device="cuda")

    assert "libcuda.so.1" in caught.value.message or "build of onnxruntime" in caught.value.message


def test_every_exception_of_onnxruntime_becomes_ours() -> None:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    classes = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]

    assert classes
    for kind in classes:
        assert isinstance(module._running_error(kind("[ONNXRuntimeError] : 1 : FAIL : reason")), MlserveError)


def test_memory_that_runs_out_is_not_the_clients_fault() -> None:
    assert isinstance(module._running_error(RuntimeError("Failed to allocate memory for buffer")), Unavailable)
