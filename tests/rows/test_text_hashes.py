"""Hashes of texts: equal for equal ones, whatever surrounds them, and otherwise not."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mlserve.rows import text_hashes
from mlserve.rows.text_hashes import hashes_of


@given(st.lists(st.text(max_size=20), max_size=30), st.integers(0, 10))
def test_texts_are_equal_where_their_hashes_are(texts: list[str], skipped: int) -> None:
    hashes = hashes_of(pa.array(texts, pa.string()).slice(skipped))

    for one, text in zip(hashes.tolist(), texts[skipped:], strict=True):
        for other, same in zip(hashes.tolist(), texts[skipped:], strict=True):
            assert (one == other) == (text == same)


def test_ids_that_count_up_do_not_collide() -> None:
    ids = pa.array([f"7f3a9c-{number:x}" for number in range(200_000)])

    assert len(np.unique(hashes_of(ids))) == len(ids)


def test_texts_beyond_a_chunk_have_the_same_hashes() -> None:
    texts = pa.array([f"{'long' * (number % 7)}{number}" for number in range(1000)])
    whole = hashes_of(texts)
    parts = np.concatenate([hashes_of(texts.slice(first, 10)) for first in range(0, 1000, 10)])

    assert whole.tolist() == parts.tolist()
    assert hashes_of(pa.array(["x" * text_hashes._CHUNK_BYTES, "y", "x"])).tolist()[1:] == (
        hashes_of(pa.array(["y", "x"])).tolist()
    )


def test_another_seed_gives_other_hashes() -> None:
    assert hashes_of(pa.array(["a"]), 1)[0] != hashes_of(pa.array(["a"]), 2)[0]
