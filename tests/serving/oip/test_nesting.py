"""Hostile nesting is found without a parser."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.errors import InvalidInput
from mlserve.serving.oip.nesting import check_depth, depth

documents = st.recursive(
    st.none() | st.booleans() | st.text(alphabet='[]{}"\\a,', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='[{"\\', max_size=3), inner, max_size=3)
    ),
    max_leaves=20,
)


def plainly(document: object) -> int:
    if isinstance(document, dict):
        return 1 + max((plainly(value) for value in document.values()), default=0)
    if isinstance(document, list):
        return 1 + max((plainly(value) for value in document), default=0)
    return 0


@given(documents)
def test_the_depth_is_that_of_the_parsed_document(document: object) -> None:
    assert depth(json.dumps(document).encode()) == plainly(document)


@given(st.binary(max_size=300))
def test_any_bytes_have_a_depth(text: bytes) -> None:
    assert 0 <= depth(text) <= len(text)


def test_a_document_of_exactly_the_depth_passes() -> None:
    check_depth(b"[" * 5 + b"]" * 5, 5)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"[" * 6 + b"]" * 6, id="arrays"),
        pytest.param(b'{"a":' * 6 + b"1" + b"}" * 6, id="objects"),
        pytest.param(b"[" * 1_000_000, id="a million, never closed"),
    ],
)
def test_a_deeper_one_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidInput, match="nests deeper than 5"):
        check_depth(text, 5)
