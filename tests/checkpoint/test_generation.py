"""What requests may ask of a language model."""

from __future__ import annotations

from typing import Any

import pytest

from mlserve.checkpoint.generation import USUAL, Wish, read_wish
from mlserve.errors import InvalidInput


def test_without_parameters_the_likeliest_tokens_are_taken() -> None:
    assert read_wish(None) == read_wish({"unit_key": "u"}) == USUAL == Wish(16, 0.0, 1.0, None, False)


def test_the_names_of_other_servers_are_known() -> None:
    assert read_wish({"max_new_tokens": 3, "random_seed": 7}) == Wish(max_tokens=3, seed=7)


def test_the_prompt_comes_back_where_it_is_not_excluded() -> None:
    assert read_wish({"exclude_input_in_output": False}).echoes


@pytest.mark.parametrize(
    "parameters",
    [
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"max_tokens": True},
        {"max_tokens": "5"},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": "hot"},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"seed": -1},
        {"seed": 1 << 63},
        {"exclude_input_in_output": 1},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        read_wish(parameters)
