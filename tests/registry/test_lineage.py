"""Ancestors and descendants, across models."""

from __future__ import annotations

import pytest

from mlserve.core.digests import digest_bytes
from mlserve.core.evidence import Evidence
from mlserve.core.refs import parse_ref
from mlserve.errors import NotFound, UsageError
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.lineage import lineage
from mlserve.registry.store import Store
from tests.registry.making import NOON, add_version, at


def family(store: Store, artefacts: ArtefactStore) -> None:
    """fraud:1 ─► fraud:2 ─► small:1, small:2; fraud:1 ─► fraud:3."""
    add_version(store, artefacts, content=b"one", data_digest=digest_bytes(b"rows"))
    add_version(store, artefacts, content=b"two", parent=parse_ref("fraud:1"))
    add_version(store, artefacts, "small", b"two, smaller", parent=parse_ref("fraud:2"))
    add_version(store, artefacts, "fraud", b"three", parent=parse_ref("fraud:1"))
    add_version(store, artefacts, "small", b"two, smallest", parent=parse_ref("fraud:2"))


def test_parents_are_followed_up_and_down_and_across_models(store: Store, artefacts: ArtefactStore) -> None:
    family(store, artefacts)

    top, middle, leaf = (lineage(store, parse_ref(ref)) for ref in ("fraud:1", "fraud:2", "small:2"))

    assert [member.version.ref for member in top.ancestors] == []
    assert [member.version.ref for member in top.descendants] == ["fraud:2", "small:1", "small:2", "fraud:3"]
    assert [member.version.ref for member in middle.ancestors] == ["fraud:1"]
    assert [member.version.ref for member in middle.descendants] == ["small:1", "small:2"]
    assert [member.version.ref for member in leaf.ancestors] == ["fraud:2", "fraud:1"]
    assert leaf.descendants == []
    assert leaf.ancestors[1].version.data_digest == digest_bytes(b"rows")


def test_the_newest_figures_of_how_a_version_was_made_go_along(store: Store, artefacts: ArtefactStore) -> None:
    digest = digest_bytes(b"two")
    tried = [
        Evidence("quantization", digest, True, {"method": method, "size_ratio": 3.9, "latency": []}, at(minute), "ann")
        for minute, method in enumerate(("fp16", "int8-dynamic"))
    ]
    add_version(store, artefacts, content=b"one")
    add_version(store, artefacts, content=b"two", parent=parse_ref("fraud:1"), evidence=tried)

    (child,) = lineage(store, parse_ref("fraud:1")).descendants

    assert child.made == {"quantization": {"method": "int8-dynamic", "size_ratio": 3.9}}
    assert child.to_dict()["parent"] == "fraud:1"


def test_a_version_that_is_not_there_has_no_lineage(store: Store, artefacts: ArtefactStore) -> None:
    family(store, artefacts)

    with pytest.raises(NotFound):
        lineage(store, parse_ref("fraud:9"))


def test_what_was_made_from_a_version_cannot_become_its_parent(store: Store, artefacts: ArtefactStore) -> None:
    family(store, artefacts)

    with pytest.raises(UsageError, match="'small:1' was made from fraud:1"):
        add_version(store, artefacts, content=b"one", parent=parse_ref("small:1"), now=NOON)
