"""The ring gives back what was put in, in order and whole, drops what has no room, and outlives a reader."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlserve.serving.shadow.ring import HEADER_BYTES, LEAST_BYTES, Ring, make_ring

Ends = tuple[Ring, Ring, int]
"""The writer's end, the reader's, and the file of both."""


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A ring of the least capacity there is."""
    yield from _ends()


def _ends() -> Iterator[Ends]:
    descriptor = make_ring(LEAST_BYTES)
    writer, reader = Ring(descriptor), Ring(descriptor)
    yield writer, reader, descriptor
    writer.close()
    reader.close()
    os.close(descriptor)


FRAME_BYTES = 192
"""Of a frame of one short part: what stands before it, itself, what stands behind it."""


def content(number: int, size: int) -> bytes:
    return bytes([number % 251]) * size


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, LEAST_BYTES + 64)),
        st.tuples(st.just("write"), st.integers(0, 300)),
        st.tuples(st.just("take"), st.integers(1, 8)),
    ),
    max_size=120,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_frames_of_any_size_come_back_whole_and_in_order_and_only_what_was_refused_is_missing(
    steps: list[tuple[str, int]],
) -> None:
    for writer, reader, _ in _ends():
        there: deque[bytes] = deque()
        written = refused = taken = 0
        for number, (what, size) in enumerate(steps):
            if what == "write":
                frame = content(number, size)
                if writer.write([frame]):
                    there.append(frame)
                    written += 1
                else:
                    refused += 1
                    assert there or size > LEAST_BYTES // 2, "an empty ring takes what is not too large for it"
                continue
            for _ in range(size):
                found = reader.take()
                if found is None:
                    assert not there
                    break
                expected = there.popleft()
                assert found[: len(expected)] == expected
                assert len(found) - len(expected) < 64
                taken += 1

        assert (writer.written, reader.taken, reader.damaged) == (written, taken, 0)
        assert written - taken == len(there)


def test_parts_of_a_frame_begin_on_multiples_of_64_bytes(ends: Ends) -> None:
    writer, reader, _ = ends
    writer.write([b"a" * 65, memoryview(b"b" * 3)], requests=7)

    found = reader.take()

    assert found is not None
    assert found[:65] == b"a" * 65
    assert found[128:131] == b"b" * 3
    assert reader.taken == writer.written == 7


def test_a_frame_that_its_writer_did_not_finish_is_not_seen(ends: Ends) -> None:
    writer, reader, descriptor = ends
    assert writer.write([b"whole"])
    # All that a writer does but for its last store: as if it was killed just before it.
    os.pwrite(descriptor, b"\xff" * 256, HEADER_BYTES + FRAME_BYTES)

    assert reader.take() is not None
    assert reader.take() is None
    assert reader.damaged == 0
    assert writer.write([b"next"])
    found = reader.take()
    assert found is not None
    assert found.startswith(b"next")


@pytest.mark.parametrize("place", [0, 8, 128], ids=["number", "length", "trailer"])
def test_a_damaged_frame_costs_what_was_in_the_ring_and_no_more(ends: Ends, place: int) -> None:
    writer, reader, descriptor = ends
    writer.write([b"first"])
    assert reader.take() is not None
    writer.write([b"second"], requests=2)
    writer.write([b"third"], requests=3)
    os.pwrite(descriptor, b"\x7e" * 8, HEADER_BYTES + FRAME_BYTES + place)

    assert reader.take() is None
    assert reader.damaged == 1
    writer.write([b"fourth"])
    found = reader.take()

    assert found is not None
    assert found.startswith(b"fourth")
    assert reader.taken == writer.written == 7


def test_a_new_reader_goes_on_where_the_last_one_was(ends: Ends) -> None:
    writer, reader, descriptor = ends
    for number in range(4):
        writer.write([content(number, 100)])
    reader.take()
    reader.take()
    successor = Ring(descriptor)

    found = successor.take()

    assert found is not None
    assert found[:100] == content(2, 100)
    assert successor.taken == 3
    successor.close()


def test_a_reader_that_keeps_up_costs_the_beginning_of_the_ring_only() -> None:
    descriptor = make_ring(8 << 20)
    writer, reader = Ring(descriptor), Ring(descriptor)
    for number in range(64):
        writer.write([content(number, 1 << 18)])
        assert reader.take() is not None

    resident = os.fstat(descriptor).st_blocks * 512

    assert resident < HEADER_BYTES + (2 << 20)
    os.close(descriptor)
    writer.close()
    reader.close()
