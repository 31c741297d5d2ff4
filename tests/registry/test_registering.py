"""Registering: the same bytes are the same version, and what is recorded keeps its value."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlserve.core.digests import FileEntry, Manifest, digest_bytes, manifest_of
from mlserve.core.refs import parse_ref
from mlserve.errors import Conflict, InvalidInput, NotFound, UsageError
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.evidencing import evidence_of
from mlserve.registry.following import epoch
from mlserve.registry.records import Commit
from mlserve.registry.registering import register
from mlserve.registry.store import Store
from mlserve.registry.versions import archive, get_version, list_models, list_versions
from tests.registry.making import NOON, SIGNATURE, add_version, at, loaded

WHOLE = {
    "metrics": {"auc": 0.91, "val/ndcg@10": 0.5},
    "params": {"depth": "3"},
    "tags": {"team": "risk"},
    "data_uri": "s3://bucket/train",
    "data_digest": "sha256:" + "0" * 64,
    "note": "the first",
    "commit": Commit("a" * 40, dirty=True),
    "golden": b"rows",
}


def test_a_version_is_recorded_whole(store: Store, artefacts: ArtefactStore) -> None:
    made = add_version(store, artefacts, evidence=[loaded(b"one")], **WHOLE)

    assert made.created
    version = get_version(store, parse_ref("fraud:1"))
    assert version == made.version
    assert version.to_dict() == {
        "ref": "fraud:1",
        "name": "fraud",
        "version": 1,
        "digest": digest_bytes(b"one"),
        "files": [{"path": "model.onnx", "digest": digest_bytes(b"one"), "size_bytes": 3}],
        "signature": SIGNATURE.to_dict(),
        "metrics": {"auc": 0.91, "val/ndcg@10": 0.5},
        "params": {"depth": "3"},
        "tags": {"team": "risk"},
        "stages": [],
        "state": "ready",
        "kind": "onnx",
        "parent": None,
        "commit": "a" * 40,
        "dirty": True,
        "data_uri": "s3://bucket/train",
        "data_digest": "sha256:" + "0" * 64,
        "golden": digest_bytes(b"rows"),
        "note": "the first",
        "created_at": "2026-03-01T12:00:00Z",
        "created_by": "ann",
    }
    assert artefacts.open_local(version.manifest).read_bytes() == b"one"
    assert artefacts.read(str(version.golden)) == b"rows"
    assert [item.kind for item in evidence_of(store, version.digest)] == ["load"]


def test_the_same_bytes_again_are_the_same_version(store: Store, artefacts: ArtefactStore) -> None:
    first = add_version(store, artefacts, **WHOLE)

    again = add_version(store, artefacts, now=at(60), by="bob", commit=Commit("b" * 40, dirty=False))

    assert not again.created
    assert again.version == first.version
    assert len(list_versions(store, "fraud")) == 1


def test_what_is_new_is_added_to_the_same_version(store: Store, artefacts: ArtefactStore) -> None:
    add_version(store, artefacts, b"parent".decode(), b"parent")
    add_version(store, artefacts, metrics={"auc": 0.9})

    version = add_version(
        store,
        artefacts,
        metrics={"auc": 0.9, "f1": 0.8},
        params={"depth": "3"},
        tags={"team": "risk"},
        data_uri="s3://bucket/train",
        note="measured again",
        golden=b"rows",
        parent=parse_ref("parent:1"),
    ).version

    assert version.metrics == {"auc": 0.9, "f1": 0.8}
    assert (version.params, version.tags) == ({"depth": "3"}, {"team": "risk"})
    assert (version.data_uri, version.note, version.parent) == ("s3://bucket/train", "measured again", "parent:1")
    assert version.golden == digest_bytes(b"rows")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"metrics": {"auc": 0.92}}, "metric 'auc' of fraud:1 is 0.91, not 0.92", id="metric"),
        pytest.param({"params": {"depth": "4"}}, "param 'depth' of fraud:1 is 3, not 4", id="param"),
        pytest.param({"tags": {"team": "ops"}}, "tag 'team' of fraud:1 is risk, not ops", id="tag"),
        pytest.param({"data_uri": "s3://other"}, "fraud:1 already, with another data URI", id="data URI"),
        pytest.param({"golden": b"others"}, "fraud:1 already, with another golden data", id="golden"),
    ],
)
def test_another_value_for_what_is_there_is_a_conflict(store, artefacts, options: dict, message: str) -> None:
    before = add_version(store, artefacts, **WHOLE).version
    seen = epoch(store)

    with pytest.raises(Conflict, match=message):
        add_version(store, artefacts, **{"metrics": {"new": 1.0}, **options})

    assert get_version(store, parse_ref("fraud:1")) == before
    assert epoch(store) == seen


def test_numbers_count_up_per_model(store: Store, artefacts: ArtefactStore) -> None:
    refs = [
        add_version(store, artefacts, name, content).version.ref
        for name, content in [("fraud", b"one"), ("churn", b"one"), ("fraud", b"two"), ("fraud", b"three")]
    ]

    assert refs == ["fraud:1", "churn:1", "fraud:2", "fraud:3"]
    assert [(model.name, model.versions, model.latest) for model in list_models(store)] == [
        ("churn", 1, 1),
        ("fraud", 3, 3),
    ]


def test_a_refused_registration_leaves_no_gap(store: Store, artefacts: ArtefactStore) -> None:
    add_version(store, artefacts)
    with pytest.raises(NotFound):
        add_version(store, artefacts, content=b"two", parent=parse_ref("fraud:9"))

    assert add_version(store, artefacts, content=b"two").version.version == 2


def test_a_version_is_not_its_own_parent(store: Store, artefacts: ArtefactStore) -> None:
    add_version(store, artefacts)

    with pytest.raises(UsageError, match="cannot be their parent"):
        add_version(store, artefacts, parent=parse_ref("fraud:1"))


def test_an_archived_version_stays_archived(store: Store, artefacts: ArtefactStore) -> None:
    add_version(store, artefacts)
    archive(store, parse_ref("fraud:1"))

    assert add_version(store, artefacts).version.state == "archived"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        pytest.param({"name": "no spaces"}, UsageError, id="name"),
        pytest.param({"metrics": {"a b": 1.0}}, UsageError, id="name of a metric"),
        pytest.param({"metrics": {"auc": float("nan")}}, InvalidInput, id="metric that is not a number"),
        pytest.param({"params": {"": "x"}}, UsageError, id="empty key"),
        pytest.param({"tags": {"a": "\0"}}, InvalidInput, id="text with a nul"),
        pytest.param({"evidence": [loaded(b"another")]}, InvalidInput, id="evidence of another model"),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_anything_is_written(store, artefacts, options, error) -> None:
    with pytest.raises(error):
        add_version(store, artefacts, **options)

    assert list_models(store) == []
    assert not Path(artefacts.root).exists()


def test_a_model_of_several_files_is_one_version(store: Store, artefacts: ArtefactStore, tmp_path: Path) -> None:
    files = {"model.onnx": tmp_path / "m.onnx", "weights/w.bin": tmp_path / "w.bin"}
    for path in files.values():
        path.write_bytes(path.name.encode())
    manifest = manifest_of(files.items())

    made = register(store, artefacts, "big", files, manifest, SIGNATURE, by="ann", now=NOON)

    main = artefacts.open_local(get_version(store, parse_ref("big:1")).manifest)
    assert main.read_bytes() == b"m.onnx"
    assert (main.parent / "weights" / "w.bin").read_bytes() == b"w.bin"
    assert [entry.path for entry in made.version.files] == ["model.onnx", "weights/w.bin"]
    assert made.version.digest == manifest.digest


def test_a_manifest_must_name_its_bytes(store: Store, artefacts: ArtefactStore, tmp_path: Path) -> None:
    manifest = Manifest((FileEntry("model.onnx", "md5:1", 1),))

    with pytest.raises(InvalidInput, match="'md5:1' is not a digest"):
        register(store, artefacts, "fraud", tmp_path / "x", manifest, SIGNATURE, by="ann", now=NOON)
