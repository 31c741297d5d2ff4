"""Keys of texts do not depend on how the texts are kept."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mlserve.rows.captured import Texts
from mlserve.stats.hashing import text_keys

IDS = st.one_of(st.text(st.characters(max_codepoint=127), max_size=70), st.text(max_size=70))


@given(st.lists(IDS, max_size=20), st.integers(0, 3))
def test_texts_in_an_arrow_column_have_the_keys_that_they_have_in_a_list(texts: list[str], start: int) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    column = Texts(pa.array(texts, pa.string()).slice(start))

    assert text_keys(column).tolist() == text_keys(texts[start:]).tolist()


@given(st.lists(st.integers(0, 999), min_size=1, max_size=50))
def test_ids_of_one_length_too(numbers: list[int]) -> None:
    texts = [f"request-{number:03d}" for number in numbers]

    assert text_keys(Texts(pa.array(texts))).tolist() == text_keys(texts).tolist()
