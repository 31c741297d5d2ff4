"""The language of ``--where``: what it reads, and that nothing else gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.errors import UsageError
from mlserve.registry.filtering import Term, as_condition, parse_where


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        pytest.param("version>3", [Term("version", None, ">", "3")], id="without blanks"),
        pytest.param("metric.val.f1 <= -1e-3", [Term("metric", "val.f1", "<=", "-1e-3")], id="dots in a name"),
        pytest.param("metric.ndcg@10 != 0", [Term("metric", "ndcg@10", "!=", "0")], id="signs in a name"),
        pytest.param("tag.who = 'it\\'s <me>'", [Term("tag", "who", "=", "it's <me>")], id="quotes"),
        pytest.param('tag.and = "and"', [Term("tag", "and", "=", "and")], id="and as a word"),
        pytest.param(" state = ready  ", [Term("state", None, "=", "ready")], id="blanks around"),
    ],
)
def test_a_condition_is_read(text: str, terms: list[Term]) -> None:
    assert parse_where(text) == terms


@pytest.mark.parametrize(
    "text",
    [
        "", "  ", "metric.auc", "metric.auc >=", "= 3", "metric.auc > > 3", "version = 1 or version = 2",
        "version = 1 and", "and", "metric.auc > high", "metric. > 1", "version = one", "version = " + "9" * 19,
        "version = ²", "state < ready", "stage = prod", "author = ann", "tag.a = 'open", "tag.x = a b", "a ! b",
        "version = 1; drop table models", "'a' = 1", "stage.x = 1", "param.depth > deep",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        as_condition(parse_where(text))


@pytest.mark.parametrize(("word", "near"), [("stat", "state"), ("metrics.auc", "metric.auc"), ("versions", "version")])
def test_a_misspelt_field_names_the_nearest(word: str, near: str) -> None:
    with pytest.raises(UsageError) as unknown:
        parse_where(f"{word} = 1")

    assert unknown.value.hint == f"did you mean '{near}'?"


@given(st.text(max_size=40))
def test_any_text_is_read_or_a_usage_error(text: str) -> None:
    try:
        as_condition(parse_where(text))
    except UsageError:
        return


@given(st.text(min_size=1, max_size=20).filter(lambda text: "\\" not in text and '"' not in text))
def test_a_quoted_value_is_taken_literally(value: str) -> None:
    assert parse_where(f'tag.a = "{value}"') == [Term("tag", "a", "=", value)]
