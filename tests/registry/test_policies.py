"""Policies: what can be written, what is refused with a hint, and how revisions follow each other."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from mlserve.core.refs import Stage
from mlserve.errors import InvalidConfig, NotFound
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.following import epoch
from mlserve.registry.policies import Comparison, Requirement, get_policy, parse_age, parse_policy, set_policy
from mlserve.registry.store import Store
from tests.registry.making import NOON, add_version, at

TEXT = """
[production]
compare_with_production = [{ metric = "accuracy", max_drop = 0.01 }]

[[production.require]]
kind = "parity"
passed = true
figure = "max_abs"
max = 1e-4
max_age = "7d"
imported = false
"""


def test_a_policy_is_read_from_toml_and_from_json() -> None:
    policy = parse_policy(TEXT)

    assert policy.of(Stage.PRODUCTION).require == (
        Requirement(kind="parity", passed=True, figure="max_abs", max=1e-4, max_age="7d", imported=False),
    )
    assert policy.of(Stage.PRODUCTION).compare_with_production == (Comparison(metric="accuracy", max_drop=0.01),)
    assert policy.of(Stage.SHADOW).require == ()
    assert parse_policy(json.dumps(policy.to_dict())) == policy


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        pytest.param("not a policy", "neither TOML nor JSON", None, id="no TOML"),
        pytest.param("{", "neither TOML nor JSON", None, id="no JSON"),
        pytest.param("[prodution]", "a stage 'prodution'", "did you mean 'production'?", id="stage"),
        pytest.param("production = 3", "cannot be used", None, id="not a table"),
        pytest.param("[production]\nrequires = []", "unknown field", "did you mean 'require'?", id="key"),
        pytest.param("[production]\nrequire = [{}]", "missing required field `kind`", None, id="no kind"),
        pytest.param(
            "[production]\nrequire = [{kind = 'a', max_age = 'soon'}]", "'soon' is not an age", None, id="age"
        ),
        pytest.param(
            "[production]\nrequire = [{kind = 'a', figure = 'b'}]", "a figure or a bound alone", None, id="figure"
        ),
        pytest.param("[production]\nrequire = [{kind = 'a', max = 1}]", "a figure or a bound alone", None, id="bound"),
        pytest.param("[production]\nrequire = [{kind = 'a', passed = false}]", "not to have passed", None, id="passed"),
        pytest.param(
            "[production]\ncompare_with_production = [{metric = 'auc'}]", "without one bound", None, id="comparison"
        ),
        pytest.param("[production]\napprovals = 1", "approvals, which are not offered yet", None, id="approvals"),
    ],
)
def test_a_policy_that_cannot_be_used_is_refused(text: str, message: str, hint: str | None) -> None:
    with pytest.raises(InvalidConfig, match=message) as refused:
        parse_policy(text)

    if hint is not None:
        assert refused.value.hint == hint


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("90 m", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        ("1.5h", timedelta(minutes=90)),
        ("2w", timedelta(weeks=2)),
        ("30s", timedelta(seconds=30)),
    ],
)
def test_ages_have_a_number_and_a_unit(text: str, age: timedelta) -> None:
    assert parse_age(text) == age


def test_revisions_count_up_and_the_newest_is_in_force(store: Store, artefacts: ArtefactStore) -> None:
    add_version(store, artefacts)
    assert get_policy(store, "fraud").to_dict() == {
        "name": "fraud", "revision": None, "set_at": None, "set_by": None, "stages": {}
    }  # fmt: skip

    set_policy(store, "fraud", parse_policy("[staging]\nrequire = [{kind = 'parity'}]"), by="ann", now=NOON)
    set_policy(store, "fraud", parse_policy(TEXT), by="bob", now=at(1))

    found = get_policy(store, "fraud")
    assert (found.revision, found.set_by, found.policy) == (2, "bob", parse_policy(TEXT))
    assert found.to_dict()["set_at"] == "2026-03-01T12:01:00Z"


def test_setting_an_equal_policy_makes_no_revision(store: Store, artefacts: ArtefactStore) -> None:
    add_version(store, artefacts)
    set_policy(store, "fraud", parse_policy(TEXT), by="ann", now=NOON)
    before = epoch(store)

    assert set_policy(store, "fraud", parse_policy(TEXT), by="bob", now=at(1)).revision == 1
    assert epoch(store) == before


def test_a_policy_needs_its_model(store: Store) -> None:
    for call in (
        lambda: get_policy(store, "fraud"),
        lambda: set_policy(store, "fraud", parse_policy(""), by="a", now=NOON),
    ):
        with pytest.raises(NotFound, match="no model 'fraud'"):
            call()
