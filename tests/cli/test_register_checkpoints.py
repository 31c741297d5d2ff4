"""Checkpoint folders as versions: ``register DIR``, and what shows them."""

from __future__ import annotations

import json
import shutil
from importlib import util
from pathlib import Path

import pytest

from mlserve.core.evidence import Evidence, write_sidecar
from mlserve.wiring import connect, now
from tests.checkpoints import Trained
from tests.cli.conftest import Run


@pytest.fixture
def folder(llama: Trained, project: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(llama.folder, project / "llama"))


def test_a_folder_becomes_a_version_with_its_files(run: Run, folder: Path) -> None:
    made = run("register", "chat", folder, "--tag", "size=tiny", "--json").document

    assert made["ref"] == "chat:1"
    assert made["kind"] == "transformers"
    assert made["files"][0]["path"] == "config.json"
    assert {entry["path"] for entry in made["files"]} >= {"model.safetensors", "tokenizer.json"}
    assert [spec["name"] for spec in made["signature"]["inputs"]] == ["text_input"]


def test_the_same_files_are_the_same_version(run: Run, folder: Path) -> None:
    first = run("register", "chat", folder, "--json").document
    other = Path(shutil.copytree(folder, folder.with_name("other")))
    (other / "optimizer.pt").write_text("left out")

    again = run("register", "chat", other, "--json")

    assert again.document["ref"] == "chat:1"
    assert again.document["digest"] == first["digest"]
    assert not again.document["created"]
    assert "optimizer.pt" in again.err


def test_show_and_diff_know_it(run: Run, folder: Path) -> None:
    run("register", "chat", folder)
    (folder / "README.md").write_text("a model")
    run("register", "chat", folder)

    shown = run("show", "chat:2", "--json").document
    differing = run("diff", "chat:1", "chat:2", "--json").document

    kinds = {item["kind"]: item for item in shown["evidence"]}
    assert kinds["load"]["figures"]["architecture"] == "LlamaForCausalLM"
    assert kinds["certificate"]["figures"]["batchable"]
    assert list(differing["files"]) == ["README.md"]
    assert differing["incompatible"] == []


def test_the_evidence_beside_the_folder_is_read(run: Run, folder: Path) -> None:
    from mlserve.checkpoint.packaging import read_manifest

    digest = read_manifest(folder).digest
    write_sidecar(folder, [Evidence("quantization", digest, True, {"method": "bnb-nf4"}, now(), "tester")])

    run("register", "chat", folder)

    evidence = run("show", "chat:1", "--json").document["evidence"]
    assert [item["origin"] for item in evidence if item["kind"] == "quantization"] == ["imported"]


def test_evidence_of_other_files_is_refused(run: Run, folder: Path) -> None:
    write_sidecar(folder, [Evidence("quantization", f"sha256:{'0' * 64}", True, {}, now(), "tester")])

    assert run("register", "chat", folder, "--json").error["code"] == 9


def test_the_store_hands_out_all_of_it_verified(run: Run, folder: Path) -> None:
    from mlserve.core.refs import parse_ref
    from mlserve.errors import CorruptArtefact
    from mlserve.registry.versions import get_version

    run("register", "chat", folder)
    with connect() as app:
        version = get_version(app.store, parse_ref("chat:1"))
        opened = app.artefacts.open_local(version.manifest)
        assert opened.name == "config.json"
        for entry in version.files:
            assert (opened.parent / entry.path).read_bytes() == (folder / entry.path).read_bytes()

        weights = (opened.parent / "model.safetensors").resolve()
        weights.chmod(0o644)
        weights.write_bytes(b"x" + weights.read_bytes()[1:])
        with pytest.raises(CorruptArtefact):
            app.artefacts.open_local(version.manifest)


def test_registering_again_heals_what_was_damaged(run: Run, folder: Path) -> None:
    from mlserve.core.refs import parse_ref
    from mlserve.registry.versions import get_version

    run("register", "chat", folder)
    with connect() as app:
        version = get_version(app.store, parse_ref("chat:1"))
        weights = app.artefacts.open_local(version.manifest).with_name("model.safetensors")
        weights.chmod(0o644)
        weights.write_bytes(b"damaged")

        run("register", "chat", folder)

        assert app.artefacts.open_local(version.manifest).with_name("model.safetensors").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(("--golden", "rows.npz"), 2, id="golden rows"),
        pytest.param(("--parent", "chat:9"), 4, id="no such parent"),
    ],
)
def test_what_cannot_be_said_of_a_folder(run: Run, folder: Path, words: tuple[str, ...], code: int) -> None:
    assert run("register", "chat", folder, *words, "--json").error["code"] == code


def test_without_the_extra_it_says_what_to_install(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = util.find_spec
    monkeypatch.setattr(
        "mlserve.runtime.generation.opening.find_spec", lambda name: None if name == "bitsandbytes" else there(name)
    )

    error = run("register", "chat", folder, "--json").error

    assert error["code"] == 6
    assert error["hint"] == "pip install 'mlserve[llm]'"


def test_predict_continues_the_texts_of_a_folder_or_a_version(run: Run, folder: Path) -> None:
    texts = [{"text_input": f"Return the {number}"} for number in range(10)]
    Path("texts.jsonl").write_text("\n".join(json.dumps(text) for text in texts))
    run("register", "chat", folder)

    of_folder, of_version = (run("predict", target, "texts.jsonl", "--json") for target in ("llama", "chat:1"))

    assert of_folder.code == of_version.code == 0, of_folder.err + of_version.err
    assert of_folder.document == of_version.document
    assert len(of_folder.document["text_output"]) == 10
