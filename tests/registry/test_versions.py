"""Finding, listing, labelling, archiving and comparing versions."""

from __future__ import annotations

import pytest

from mlserve.core.refs import Stage, parse_ref
from mlserve.errors import Conflict, InvalidInput, NotFound, UsageError
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.following import epoch
from mlserve.registry.history import history
from mlserve.registry.records import Commit
from mlserve.registry.store import Store
from mlserve.registry.versions import (
    archive,
    diff,
    get_version,
    list_models,
    list_versions,
    set_tags,
    unarchive,
)
from tests.registry.making import WIDER, add_version, add_versions, at, move


@pytest.fixture
def stocked(store: Store, artefacts: ArtefactStore) -> Store:
    """Four versions of ``fraud`` and one of ``churn``; 2 is in production, 4 is archived."""
    for number, (auc, depth, team) in enumerate([(0.8, "3", "risk"), (0.9, "0.5", "risk"), (0.95, "deep", "ops")], 1):
        labels = {"metrics": {"auc": auc}, "params": {"depth": depth}, "tags": {"team": team}}
        add_version(store, artefacts, content=b"%d" % number, now=at(number), **labels)
    add_version(store, artefacts, content=b"4", now=at(4), kind="fp16")
    add_version(store, artefacts, "churn", b"5", now=at(5), metrics={"auc": 0.7})
    move(store, "fraud:2")
    archive(store, parse_ref("fraud:4"))
    return store


@pytest.mark.parametrize(
    ("where", "found"),
    [
        pytest.param(None, [4, 3, 2, 1], id="everything, newest first"),
        pytest.param("metric.auc >= 0.9", [3, 2], id="metric"),
        pytest.param("metric.auc > 0.8 and metric.auc < 0.95", [2], id="two bounds"),
        pytest.param("metric.auc != 0.8", [3, 2], id="a version without the metric is not meant"),
        pytest.param("tag.team = risk AND param.depth > 1", [1], id="params compare as numbers"),
        pytest.param("param.depth = 3.0", [1], id="equal numbers written differently"),
        pytest.param("param.depth != 3.0", [3, 2], id="not that number"),
        pytest.param("param.depth = deep", [3], id="param as text"),
        pytest.param("tag.team != 'risk'", [3], id="other text"),
        pytest.param("stage = production", [2], id="stage"),
        pytest.param("stage != production", [4, 3, 1], id="not in the stage"),
        pytest.param("state = ready and version >= 2", [3, 2], id="state and version"),
        pytest.param("kind = fp16", [4], id="kind"),
        pytest.param("version == 3", [3], id="double equals"),
        pytest.param("metric.none > 0", [], id="unknown metric"),
    ],
)
def test_versions_are_found_by_condition(stocked: Store, where: str | None, found: list[int]) -> None:
    assert [version.version for version in list_versions(stocked, "fraud", where)] == found


def test_a_limit_counts_versions(stocked: Store) -> None:
    assert [version.ref for version in list_versions(stocked, "fraud", limit=2)] == ["fraud:4", "fraud:3"]


def test_versions_of_all_models_come_newest_first(stocked: Store) -> None:
    assert [version.ref for version in list_versions(stocked, where="metric.auc > 0")] == [
        "churn:1",
        "fraud:3",
        "fraud:2",
        "fraud:1",
    ]


def test_thousands_of_versions_are_read_whole(store: Store, artefacts: ArtefactStore, dialect: str) -> None:
    from sqlalchemy import insert, select

    from mlserve.registry.schema import model_versions

    add_version(store, artefacts)
    with store.writing() as connection:
        (first,) = connection.execute(select(model_versions)).mappings().all()
        rows = [{**first, "id": 1000 + n, "version": 1 + n, "digest": f"sha256:{n:064x}"} for n in range(1, 1200)]
        connection.execute(insert(model_versions), rows)

    versions = list_versions(store, "fraud")

    assert [version.version for version in versions] == list(range(1200, 0, -1))


def test_models_are_listed_with_what_stands_where(stocked: Store) -> None:
    churn, fraud = list_models(stocked)

    assert (churn.name, churn.stages, churn.versions, churn.metrics) == ("churn", {}, 1, {"auc": 0.7})
    assert fraud.to_dict() == {
        "name": "fraud",
        "versions": 4,
        "latest": 4,
        "ref": "fraud:4",
        "metrics": {},
        "stages": {"production": 2},
        "created_at": "2026-03-01T12:01:00Z",
        "created_by": "ann",
    }


def test_models_are_listed_newest_first(store: Store, artefacts: ArtefactStore) -> None:
    for name in ("a", "c", "b"):
        add_version(store, artefacts, name, name.encode())

    assert [model.name for model in list_models(store)] == ["b", "c", "a"]
    assert [model.name for model in list_models(store, limit=1)] == ["b"]


def test_an_empty_registry_says_how_to_begin(store: Store) -> None:
    assert (list_models(store), list_versions(store)) == ([], [])
    with pytest.raises(NotFound) as missing:
        get_version(store, parse_ref("fraud"))

    assert missing.value.hint == "mlserve register fraud MODEL.onnx"


@pytest.mark.parametrize("call", [get_version, archive, lambda store, ref: history(store, ref.name)])
def test_an_unknown_model_names_the_nearest(stocked: Store, call) -> None:
    with pytest.raises(NotFound, match="no model 'fruad'") as missing:
        call(stocked, parse_ref("fruad"))

    assert missing.value.hint == "did you mean 'fraud'?"


def test_an_unknown_version_says_what_there_is(stocked: Store) -> None:
    with pytest.raises(NotFound, match=r"no version 7 of 'fraud' \(the latest is 4\)") as missing:
        get_version(stocked, parse_ref("fraud:7"))

    assert missing.value.hint == "mlserve list fraud"


def test_tags_are_set_replaced_and_taken_away(stocked: Store) -> None:
    before = epoch(stocked)

    version = set_tags(stocked, parse_ref("fraud:1"), {"team": None, "region": "eu", "tier": "2"})
    again = set_tags(stocked, parse_ref("fraud:1"), {"region": "us"})

    assert version.tags == {"region": "eu", "tier": "2"}
    assert again.tags == {"region": "us", "tier": "2"}
    assert epoch(stocked) == before + 2
    assert [found.version for found in list_versions(stocked, "fraud", "tag.tier > 1")] == [1]


@pytest.mark.parametrize(
    ("tags", "error"), [({"a b": "x"}, UsageError), ({"a b": None}, UsageError), ({"a": "\0"}, InvalidInput)]
)
def test_a_tag_that_cannot_be_kept_is_refused(stocked: Store, tags: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        set_tags(stocked, parse_ref("fraud:1"), tags)


def test_a_version_in_a_stage_is_not_archived(stocked: Store) -> None:
    move(stocked, "fraud:2", Stage.SHADOW)

    with pytest.raises(Conflict, match="'fraud:2' is in shadow, production"):
        archive(stocked, parse_ref("fraud:2"))

    assert get_version(stocked, parse_ref("fraud:2")).state == "ready"


def test_archiving_twice_changes_nothing(stocked: Store) -> None:
    before = epoch(stocked)

    assert archive(stocked, parse_ref("fraud:4")).state == "archived"
    assert epoch(stocked) == before
    assert unarchive(stocked, parse_ref("fraud:4")).state == "ready"
    assert epoch(stocked) == before + 1


def test_a_diff_tells_only_what_differs(store: Store, artefacts: ArtefactStore) -> None:
    same = {"params": {"depth": "3"}, "data_uri": "s3://train"}
    add_version(
        store, artefacts, metrics={"auc": 0.9, "f1": 0.5}, tags={"a": "1"}, commit=Commit("c0", dirty=False), **same
    )
    add_version(
        store, artefacts, content=b"two", metrics={"auc": 0.91, "f1": 0.5}, signature=WIDER,
        commit=Commit("c1", dirty=False), parent=parse_ref("fraud:1"), **same,
    )  # fmt: skip

    found = diff(store, parse_ref("fraud:1"), parse_ref("fraud:2"))

    assert (found.a, found.b, found.same_bytes) == ("fraud:1", "fraud:2", False)
    assert found.fields == {"commit": ["c0", "c1"], "parent": [None, "fraud:1"]}
    assert found.metrics == {"auc": [0.9, 0.91]}
    assert (found.params, found.tags) == ({}, {"a": ["1", None]})
    assert list(found.files) == ["model.onnx"]
    assert found.incompatible == ["input 'x' was [-1, 4] and is [-1, 5]"]


def test_equal_bytes_of_two_models_are_told(store: Store, artefacts: ArtefactStore) -> None:
    add_versions(store, artefacts, 1)
    add_version(store, artefacts, "copy", b"fraud 1")

    found = diff(store, parse_ref("fraud:1"), parse_ref("copy:1"))

    assert found.same_bytes
    assert found.files == {}
