from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.cli.options import fraction, key_values, numbers
from mlserve.errors import UsageError

KEYS = st.text(st.characters(exclude_characters="=", exclude_categories=("Z", "C")), min_size=1)


@given(st.dictionaries(KEYS, st.text()))
def test_key_values_are_read_as_they_were_written(values: dict[str, str]) -> None:
    assert key_values([f"{key}={value}" for key, value in values.items()], "--tag") == values


@given(st.dictionaries(KEYS, st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_are_read_exactly(values: dict[str, float]) -> None:
    assert numbers({key: repr(value) for key, value in values.items()}, "--metric") == values


def test_nothing_given_is_nothing() -> None:
    assert key_values(None, "--tag") == {}


def test_one_key_may_be_given_twice_with_the_same_value() -> None:
    assert key_values(["a=1", "a=1"], "--tag") == {"a": "1"}


@pytest.mark.parametrize("words", [["a"], ["=1"], ["a=1", "a=2"]], ids=" ".join)
def test_words_that_are_no_pairs_are_misuse(words: list[str]) -> None:
    with pytest.raises(UsageError):
        key_values(words, "--tag")


@pytest.mark.parametrize("text", ["x", "nan", "inf", "-inf", ""])
def test_a_metric_is_a_finite_number(text: str) -> None:
    with pytest.raises(UsageError, match="number"):
        numbers({"auc": text}, "--metric")


@pytest.mark.parametrize("text", ["0", "-1%", "101%", "1.1", "many", "nan", "%"])
def test_traffic_is_a_share(text: str) -> None:
    with pytest.raises(UsageError, match="--traffic"):
        fraction(text, "--traffic")
