"""The registry's answers as JSON."""

from __future__ import annotations

import json

import pytest

from mlserve.core.refs import Stage, parse_ref
from mlserve.errors import UsageError
from mlserve.registry.records import Expect, Gate, Move, Revisions, parse_expect


def test_a_move_is_plain_json() -> None:
    move = Move("fraud:2", Stage.PRODUCTION, "fraud:1", 7, True, gates=(Gate("loads", True, None, None, "it loads"),))

    assert json.loads(json.dumps(move.to_dict())) == {
        "ref": "fraud:2",
        "stage": "production",
        "previous": "fraud:1",
        "generation": 7,
        "changed": True,
        "forced": False,
        "allowed": True,
        "dry_run": False,
        "traffic": None,
        "gates": [{"name": "loads", "passed": True, "measured": None, "threshold": None, "detail": "it loads"}],
        "warnings": [],
    }


@pytest.mark.parametrize(
    ("text", "expect"),
    [("none", Expect(None)), ("fraud:3", Expect(parse_ref("fraud:3"))), ("fraud", Expect(parse_ref("fraud")))],
)
def test_an_expectation_is_a_ref_or_none(text: str, expect: Expect) -> None:
    assert parse_expect(text) == expect


def test_an_expectation_that_is_no_ref_is_refused() -> None:
    with pytest.raises(UsageError):
        parse_expect("fraud:0")


def test_revisions_say_whether_code_and_database_fit() -> None:
    assert Revisions("0001", "0003", "0003").to_dict() == {
        "before": "0001",
        "after": "0003",
        "head": "0003",
        "in_sync": True,
    }
