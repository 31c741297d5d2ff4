"""Windows over tokens: each judged once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlserve.quantize.checkpoints.windows import windows


@given(st.integers(0, 60), st.integers(2, 12), st.data())
def test_every_token_but_the_first_is_judged_once_in_order(count: int, length: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, length - 1))

    found = list(windows(range(count), length, stride))

    judged = [token for window in found for token in window.tokens[window.scored_from :]]
    assert judged == list(range(1, count))
    assert all(len(window.tokens) <= length and window.scored_from >= 1 for window in found)


def test_only_a_window_is_read_ahead() -> None:
    def endless() -> object:
        number = 0
        while True:
            assert number < 100, "the text is read as it is judged"
            yield number
            number += 1

    coming = windows(endless(), length=8, stride=4)  # type: ignore[arg-type]  # an iterator of numbers

    assert next(coming).tokens == tuple(range(8))
