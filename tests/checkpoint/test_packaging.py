"""Which files of a folder are the checkpoint, and what may not lie in one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mlserve.checkpoint import packaging
from mlserve.checkpoint.packaging import checkpoint_files, read_manifest
from mlserve.errors import InvalidInput, MlserveError, NotFound

HEADER = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def weights(path: Path, content: bytes = b"\0" * 8) -> None:
    """A safetensors file of one tensor."""
    header = json.dumps(HEADER).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The least that is a checkpoint."""
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    weights(made / "model.safetensors")
    return made


def names(folder: Path) -> list[str]:
    return [name for name, _ in checkpoint_files(folder).files]


def test_a_checkpoint_is_its_configuration_weights_and_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt", "spiece.model", "chat_template.jinja", "README.md", "LICENSE"):
        (folder / name).write_text("x")

    assert names(folder) == [
        "config.json", "LICENSE", "README.md", "chat_template.jinja", "model.safetensors", "spiece.model",
        "tokenizer.json", "vocab.txt",
    ]  # fmt: skip


def test_pickles_code_and_what_a_trainer_left_are_not_part_of_it(folder: Path) -> None:
    for name in ("pytorch_model.bin", "optimizer.pt", "modeling.py", "trainer_state.json", ".gitattributes"):
        (folder / name).write_text("x")
    (folder / "checkpoint-500").mkdir()
    weights(folder / "consolidated.safetensors")

    package = checkpoint_files(folder)

    assert [name for name, _ in package.files] == ["config.json", "model.safetensors"]
    assert package.left_out == (
        "checkpoint-500/", "consolidated.safetensors", "modeling.py", "optimizer.pt", "pytorch_model.bin",
        "trainer_state.json",
    )  # fmt: skip


def test_chat_templates_in_their_folder_are_part_of_it(folder: Path) -> None:
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tools.jinja").write_text("x")

    assert "additional_chat_templates/tools.jinja" in names(folder)


def test_equal_files_in_another_place_have_the_same_digest(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in reversed(sorted(folder.iterdir())):
        (other / path.name).write_bytes(path.read_bytes())
    (other / "optimizer.pt").write_text("what is left out changes nothing")

    assert read_manifest(other).digest == read_manifest(folder).digest


def test_another_byte_is_another_digest(folder: Path) -> None:
    before = read_manifest(folder).digest
    weights(folder / "model.safetensors", b"\1" + b"\0" * 7)

    assert read_manifest(folder).digest != before


def test_the_weights_of_an_index_are_its_files(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    weights(folder / "model-00002-of-00002.safetensors")
    weights(folder / "model-00003-of-00002.safetensors")
    places = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))

    package = checkpoint_files(folder)

    assert [name for name, _ in package.files if name.endswith(".safetensors")] == sorted(places.values())
    assert package.left_out == ("model-00003-of-00002.safetensors",)


def _index(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))

    return write


def _only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def _large(folder: Path) -> None:
    with (folder / "junk.json").open("wb") as file:
        file.truncate(packaging.MAX_SIDE_BYTES + 1)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(lambda folder: (folder / "config.json").unlink(), "no 'config.json'", id="no configuration"),
        pytest.param(lambda folder: (folder / "model.safetensors").unlink(), "no 'model.safetensors'", id="no weights"),
        pytest.param(_only_a_pickle, "a pickle", id="only a pickle"),
        pytest.param(_cut_short, "cut short", id="weights cut short"),
        pytest.param(lambda folder: (folder / "model.safetensors").write_bytes(b"x"), "no safetensors", id="no header"),
        pytest.param(_index("missing.safetensors"), "missing", id="a shard is missing"),
        pytest.param(_index("../other.safetensors"), "of its folder", id="the index leaves the folder"),
        pytest.param(_index("/etc/x.safetensors"), "of its folder", id="the index names an absolute path"),
        pytest.param(lambda folder: (folder / "x.json").symlink_to("/etc/passwd"), "symbolic link", id="a link"),
        pytest.param(lambda folder: (folder / "sub").symlink_to("/etc"), "symbolic link", id="a link to a folder"),
        pytest.param(lambda folder: os.mkfifo(folder / "x.json"), "not a file", id="a pipe"),
        pytest.param(_large, "only weights may be that large", id="junk"),
    ],
)
def test_what_is_no_checkpoint_is_refused(folder: Path, spoil: Callable[[Path], object], said: str) -> None:
    spoil(folder)

    with pytest.raises(InvalidInput, match=said):
        checkpoint_files(folder)


def test_a_folder_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        checkpoint_files(tmp_path / "nowhere")


@pytest.mark.parametrize("header", [b"[]", b'{"w": 1}', b'{"w": {"data_offsets": [0]}}', b"{" * 100_000])
def test_a_damaged_header_is_an_error_of_ours(folder: Path, header: bytes) -> None:
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)

    with pytest.raises(MlserveError):
        checkpoint_files(folder)
