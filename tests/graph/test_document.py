"""Reading, checking and writing ONNX files."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput, NotFound
from mlserve.graph.document import check_graph, load_graph, save_graph
from mlserve.graph.packaging import model_files
from tests import models


def test_a_saved_model_is_loaded_as_itself(tmp_path: Path):
    save_graph(models.classifier(), tmp_path / "m.onnx")

    assert load_graph(tmp_path / "m.onnx") == models.classifier()


def test_saving_twice_gives_the_same_bytes(tmp_path: Path):
    for name in ("a", "b"):
        save_graph(models.labelled_classifier(), tmp_path / name)

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_missing_model_is_not_found(tmp_path: Path):
    with pytest.raises(NotFound, match=r"no file '.*absent.onnx'"):
        load_graph(tmp_path / "absent.onnx")


def test_a_folder_is_no_model(tmp_path: Path):
    with pytest.raises(InvalidInput, match="cannot read"):
        load_graph(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x00" * 100, id="zeros"),
        pytest.param(b"not a model at all\n" * 10, id="text"),
        pytest.param(b"PK\x03\x04" + b"\x00" * 50, id="zip"),
        pytest.param(b"\x08\x0a", id="only an IR version"),
        pytest.param(b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00", id="pickle"),
    ],
)
def test_a_file_that_is_not_onnx_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)

    with pytest.raises(InvalidInput, match=r"is empty|is cut short or not an ONNX file"):
        load_graph(path)


def test_a_model_cut_short_anywhere_is_refused(tmp_path: Path):
    whole = models.classifier().SerializeToString(deterministic=True)
    path = tmp_path / "m.onnx"

    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidInput):
            load_graph(path)


def test_a_file_beyond_protobufs_limit_is_refused_without_reading_it(tmp_path: Path):
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate(2**31 + 10)

    with pytest.raises(InvalidInput, match="holds at most 2147483647") as caught:
        load_graph(path)

    assert "external data" in str(caught.value.hint)


def test_external_weights_come_in_and_the_files_are_forgotten(tmp_path: Path):
    path = models.save_with_external_data(tmp_path / "m.onnx")

    assert load_graph(path) == models.classifier()


def test_without_weights_the_files_are_not_even_opened(tmp_path: Path):
    path = models.save_with_external_data(tmp_path / "m.onnx")
    (tmp_path / "weights.bin").unlink()

    model = load_graph(path, weights=False)

    assert all(tensor.external_data for tensor in model.graph.initializer)


def test_large_weights_go_to_a_file_beside_the_graph(tmp_path: Path):
    model = models.slow(width=64, layers=2)

    save_graph(model, tmp_path / "m.onnx", max_one_file_bytes=1000)

    assert [name for name, _ in model_files(tmp_path / "m.onnx")] == ["model.onnx", "m.onnx.data"]
    assert (tmp_path / "m.onnx.data").stat().st_size == 64 * 64 * 4
    assert load_graph(tmp_path / "m.onnx") == models.slow(width=64, layers=2)
    check_graph(tmp_path / "m.onnx")


def test_saving_leaves_the_model_as_it_was(tmp_path: Path):
    model = models.slow(width=64, layers=2)

    save_graph(model, tmp_path / "m.onnx", max_one_file_bytes=0)

    assert model == models.slow(width=64, layers=2)


def test_a_failed_save_leaves_no_file_and_the_model_as_it_was(tmp_path: Path):
    model = models.slow(width=64, layers=2)

    with pytest.raises(InvalidInput, match="cannot write"):
        save_graph(model, tmp_path / "absent" / "m.onnx", max_one_file_bytes=0)

    assert list(tmp_path.iterdir()) == []
    assert model == models.slow(width=64, layers=2)


def test_weights_that_were_not_loaded_stay_where_they_are(tmp_path: Path):
    path = models.save_with_external_data(tmp_path / "m.onnx")
    model = load_graph(path, weights=False)
    model.producer_name = "edited"

    save_graph(model, tmp_path / "copy.onnx")

    assert [name for name, _ in model_files(tmp_path / "copy.onnx")] == ["model.onnx", "weights.bin"]


def test_weights_that_were_not_loaded_cannot_be_left_behind(tmp_path: Path):
    model = load_graph(models.save_with_external_data(tmp_path / "m.onnx"), weights=False)
    (tmp_path / "elsewhere").mkdir()

    with pytest.raises(InvalidInput, match="holds weights of the model and is not there"):
        save_graph(model, tmp_path / "elsewhere" / "m.onnx")


@pytest.mark.parametrize(
    "build",
    [
        models.classifier,
        models.labelled_classifier,
        models.regressor,
        models.batch_dependent,
        models.fixed_shape,
        models.scalar,
        models.strings,
        models.two_inputs,
        models.mixed_columns,
        models.sequence_lengths,
        models.with_control_flow,
        *(pytest.param(lambda dtype=dtype: models.echo(dtype), id=f"echo-{dtype}") for dtype in DType),
    ],
)
def test_a_valid_model_passes(build):
    check_graph(build())


def test_a_valid_model_passes_by_its_path(tmp_path: Path):
    check_graph(models.save_with_external_data(tmp_path / "m.onnx"))


def test_a_model_in_memory_passes_without_its_external_weights(tmp_path: Path):
    check_graph(load_graph(models.save_with_external_data(tmp_path / "m.onnx"), weights=False))


def test_a_path_with_missing_weights_does_not_pass(tmp_path: Path):
    path = models.save_with_external_data(tmp_path / "m.onnx")
    (tmp_path / "weights.bin").unlink()

    with pytest.raises(InvalidInput, match="is not there"):
        check_graph(path)


def test_a_newer_ir_than_the_runtime_loads_is_refused():
    model = models.classifier()
    model.ir_version = 14

    with pytest.raises(InvalidInput, match="has ONNX IR 14, the runtime loads up to 13") as caught:
        check_graph(model)

    assert "mlserve export" in str(caught.value.hint)


@pytest.mark.parametrize("domain", ["", "ai.onnx"])
def test_a_newer_opset_than_the_runtime_loads_is_refused(domain: str):
    model = models.classifier()
    model.opset_import[0].CopyFrom(helper.make_opsetid(domain, 27))

    with pytest.raises(InvalidInput, match="has opset 27, the runtime loads up to 26"):
        check_graph(model)


def test_a_domain_of_somebody_else_may_have_any_version():
    model = models.classifier()
    model.opset_import.add(domain="com.example", version=999)

    check_graph(model)


@pytest.mark.parametrize(
    ("break_it", "fact"),
    [
        pytest.param(lambda m: m.graph.node.reverse(), "topologically sorted", id="order"),
        pytest.param(lambda m: setattr(m.graph.node[0], "op_type", "Nope"), "Nope", id="unknown operator"),
        pytest.param(lambda m: m.graph.node[1].input.pop(), "not valid ONNX", id="missing input"),
        pytest.param(lambda m: setattr(m.graph, "name", ""), "not valid ONNX", id="nameless graph"),
    ],
)
def test_an_invalid_graph_is_refused_in_one_line(break_it, fact: str):
    model = models.classifier()
    break_it(model)

    with pytest.raises(InvalidInput, match=fact) as caught:
        check_graph(model)

    assert "\n" not in caught.value.message


def test_large_weights_do_not_hinder_the_check():
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 512])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 512])],
        [numpy_helper.from_array(np.eye(512, dtype=np.float32), "w")],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])

    check_graph(model)

    assert len(model.graph.initializer[0].raw_data) == 512 * 512 * 4
