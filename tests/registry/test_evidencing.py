"""Evidence in the registry: kept for ever, and the newest of each identity counts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mlserve.registry.evidencing import add_evidence, evidence_of
from mlserve.registry.following import epoch
from mlserve.registry.store import Store
from tests.registry.making import at, loaded

ONE = loaded(b"one", tools={"onnxruntime": "1.31"}, data_digest="sha256:data")


def test_evidence_comes_back_as_it_was_given(store: Store) -> None:
    add_evidence(store, ONE)

    assert evidence_of(store, ONE.digest) == [ONE]
    assert evidence_of(store, "sha256:other") == []


def test_the_same_record_twice_is_one(store: Store) -> None:
    add_evidence(store, ONE)
    before = epoch(store)

    add_evidence(store, ONE)

    assert evidence_of(store, ONE.digest) == [ONE]
    assert epoch(store) == before


def test_a_later_record_of_the_same_identity_replaces_the_earlier(store: Store) -> None:
    later = replace(ONE, measured_at=at(5), passed=False)

    add_evidence(store, later, ONE)

    assert evidence_of(store, ONE.digest) == [later]


def test_records_of_other_identities_stand_beside_it(store: Store) -> None:
    others = [
        replace(ONE, kind="parity", measured_at=at(1)),
        replace(ONE, data_digest=None, measured_at=at(2)),
        replace(ONE, tools={}, measured_at=at(3)),
        replace(ONE, origin="imported", measured_at=at(4)),
    ]

    add_evidence(store, ONE, *others)

    assert evidence_of(store, ONE.digest) == [*reversed(others), ONE]


def test_figures_that_are_not_finite_or_not_plain_are_kept_as_json(store: Store) -> None:
    odd = {"nan": math.nan, "rows": [math.inf, -math.inf], "deep": {"f": np.float32(0.5), "i": np.int64(3)}}

    add_evidence(store, replace(ONE, figures=odd))

    (found,) = evidence_of(store, ONE.digest)
    assert found.figures == {"nan": "NaN", "rows": ["Infinity", "-Infinity"], "deep": {"f": 0.5, "i": 3}}
    assert (found.figure("nan"), found.figure("deep.i")) == (None, 3.0)
