"""The files of a model, and the locations that are refused."""

import os
from pathlib import Path

import onnx
import pytest

from mlserve.core.digests import digest_file
from mlserve.errors import InvalidInput, NotFound
from mlserve.graph.document import load_graph
from mlserve.graph.packaging import model_files, read_manifest
from tests import models


def test_a_model_of_one_file_is_called_model_onnx(tmp_path: Path):
    path = models.saved(models.classifier(), tmp_path / "fraud-v3.onnx")

    assert model_files(path) == [("model.onnx", path)]
    assert read_manifest(path).digest == digest_file(path)


def test_weights_come_along_under_their_own_names(tmp_path: Path):
    path = models.save_with_external_data(tmp_path / "m.onnx", "weights/w.bin")

    assert model_files(path) == [("model.onnx", path), ("weights/w.bin", tmp_path / "weights/w.bin")]


def test_other_weights_make_another_model(tmp_path: Path):
    one = models.save_with_external_data(tmp_path / "a" / "m.onnx", seed=0)
    other = models.save_with_external_data(tmp_path / "b" / "m.onnx", seed=1)

    assert one.read_bytes() == other.read_bytes()
    assert read_manifest(one).digest != read_manifest(other).digest


def test_a_location_in_another_spelling_is_the_same_file(tmp_path: Path):
    path = models.save_with_external_data(tmp_path / "m.onnx", "./weights.bin")

    assert [name for name, _ in model_files(path)] == ["model.onnx", "weights.bin"]


@pytest.mark.parametrize(
    "location",
    [
        pytest.param("../weights.bin", id="above"),
        pytest.param("a/../../weights.bin", id="above by a detour"),
        pytest.param("/etc/passwd", id="absolute"),
        pytest.param("", id="empty"),
        pytest.param(".", id="the folder"),
        pytest.param("..\\weights.bin", id="above on Windows"),
        pytest.param("weights\0.bin", id="with a null byte"),
    ],
)
def test_a_location_outside_the_folder_is_refused(tmp_path: Path, location: str):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "weights.bin").write_bytes(bytes(10_000))
    model = models.classifier()
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], location, 0, 4)
    path = models.saved(model, folder / "m.onnx")

    for read in (model_files, load_graph):
        with pytest.raises(InvalidInput, match="which is not inside the model's folder"):
            read(path)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path):
    path = models.save_with_external_data(tmp_path / "folder" / "m.onnx")
    (tmp_path / "folder" / "weights.bin").rename(tmp_path / "secret")
    os.symlink(tmp_path / "secret", tmp_path / "folder" / "weights.bin")

    for read in (model_files, load_graph):
        with pytest.raises(InvalidInput, match="outside the model's folder"):
            read(path)


def test_a_link_within_the_folder_is_followed(tmp_path: Path):
    path = models.save_with_external_data(tmp_path / "m.onnx")
    (tmp_path / "weights.bin").rename(tmp_path / "real.bin")
    os.symlink("real.bin", tmp_path / "weights.bin")

    assert load_graph(path) == models.classifier()


def test_missing_weights_are_named(tmp_path: Path):
    path = models.save_with_external_data(tmp_path / "m.onnx")
    (tmp_path / "weights.bin").unlink()

    with pytest.raises(InvalidInput, match=r"weights.bin' holds weights of the model and is not there") as caught:
        model_files(path)

    assert caught.value.hint == "move both files together"


def test_weights_cut_short_are_named(tmp_path: Path):
    path = models.save_with_external_data(tmp_path / "m.onnx")
    os.truncate(tmp_path / "weights.bin", 10)

    for read in (model_files, load_graph):
        with pytest.raises(InvalidInput, match="holds 10 bytes of weights, the model says 268: it was cut short"):
            read(path)


def test_a_pipe_in_place_of_weights_is_not_waited_for(tmp_path: Path):
    path = models.save_with_external_data(tmp_path / "m.onnx")
    (tmp_path / "weights.bin").unlink()
    os.mkfifo(tmp_path / "weights.bin")

    with pytest.raises(InvalidInput, match="is not there"):
        load_graph(path)


@pytest.mark.parametrize("text", ["-4", "four", "9" * 30, "1.5", "٣"])
@pytest.mark.parametrize("key", ["offset", "length"])
def test_a_range_that_is_no_number_of_bytes_is_refused(tmp_path: Path, key: str, text: str):
    model = models.classifier()
    tensor = model.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "weights.bin", 0, 4)
    next(entry for entry in tensor.external_data if entry.key == key).value = text

    with pytest.raises(InvalidInput, match=f"have {key} '{text}', which is not a number of bytes"):
        model_files(models.saved(model, tmp_path / "m.onnx"))


def test_a_tensor_without_length_reaches_to_the_end_of_its_file(tmp_path: Path):
    model = models.slow(width=8, layers=1)
    (tensor,) = model.graph.initializer
    (tmp_path / "w").write_bytes(b"head" + tensor.raw_data)
    onnx.external_data_helper.set_external_data(tensor, "w", 4)
    tensor.ClearField("raw_data")

    assert load_graph(models.saved(model, tmp_path / "m.onnx")) == models.slow(width=8, layers=1)


def test_weights_that_would_be_called_like_the_graph_are_refused(tmp_path: Path):
    path = models.save_with_external_data(tmp_path / "net.onnx", "model.onnx")

    with pytest.raises(InvalidInput, match=r"keeps its weights in a file called 'model\.onnx'"):
        model_files(path)


def test_weights_hidden_in_subgraphs_attributes_and_functions_come_along(tmp_path: Path):
    model = models.with_control_flow()
    constant = onnx.helper.make_node("Constant", [], ["c"], value=tensor_at("attribute.bin"))
    model.graph.node.insert(0, constant)
    branch = next(a.g for a in model.graph.node[-1].attribute if a.name == "then_branch")
    branch.initializer.append(tensor_at("subgraph.bin"))
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(tensor_at("sparse.bin"))
    attribute = onnx.AttributeProto(name="s", type=onnx.AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.values.CopyFrom(tensor_at("sparse-attribute.bin"))
    model.graph.node[0].attribute.append(attribute)
    inner = onnx.helper.make_node("Constant", [], ["c"], value=tensor_at("function.bin"))
    model.functions.append(onnx.helper.make_function("d", "f", [], ["c"], [inner], []))
    nested = onnx.AttributeProto(name="graphs", type=onnx.AttributeProto.GRAPHS)
    nested.graphs.add().initializer.append(tensor_at("graphs.bin"))
    model.graph.node[0].attribute.append(nested)
    names = {f"{n}.bin" for n in ("attribute", "subgraph", "sparse", "sparse-attribute", "function", "graphs")}
    for name in names:
        (tmp_path / name).write_bytes(bytes(4))

    files = model_files(models.saved(model, tmp_path / "m.onnx"))

    assert {name for name, _ in files[1:]} == names


def tensor_at(location: str) -> onnx.TensorProto:
    tensor = onnx.TensorProto(name=location, data_type=onnx.TensorProto.FLOAT, dims=[1], raw_data=bytes(4))
    onnx.external_data_helper.set_external_data(tensor, location, 0, 4)
    tensor.ClearField("raw_data")
    return tensor


def test_a_missing_model_has_no_files(tmp_path: Path):
    with pytest.raises(NotFound):
        read_manifest(tmp_path / "absent.onnx")
