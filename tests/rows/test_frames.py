"""Frames: whatever a crash or a bad disk leaves, what is read is what was written, up to where it ends."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.rows.frames import HEAD_BYTES, Frames, frame

PAYLOADS = (b"first", b"", b"x" * 300, b"last")


def written(*payloads: bytes) -> bytes:
    return b"".join(frame(7 + n, n, payload) + payload for n, payload in enumerate(payloads))


def read(data: bytes) -> list[tuple[int, bytes]]:
    return [(one.kind, one.payload) for one in Frames(io.BytesIO(data))]


WHOLE = [(7 + n, payload) for n, payload in enumerate(PAYLOADS)]


def test_what_was_written_is_read() -> None:
    frames = Frames(io.BytesIO(written(*PAYLOADS)))

    assert [(one.kind, one.payload) for one in frames] == WHOLE
    assert frames.end == len(written(*PAYLOADS))


def test_a_file_cut_anywhere_gives_the_frames_before_the_cut() -> None:
    data = written(*PAYLOADS)
    ends = [0]
    for payload in PAYLOADS:
        ends.append(ends[-1] + HEAD_BYTES + len(payload))

    for cut in range(len(data)):
        assert read(data[:cut]) == WHOLE[: sum(end <= cut for end in ends) - 1], cut


def test_a_flipped_bit_anywhere_ends_the_reading_at_its_frame() -> None:
    data = written(*PAYLOADS)
    for at in range(len(data)):
        for bit in (0, 7):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            found = read(bytes(damaged))
            assert found == WHOLE[: len(found)], at
            assert len(found) < len(WHOLE), at


@given(st.lists(st.binary(max_size=200), max_size=6), st.binary(max_size=60))
def test_what_follows_the_last_whole_frame_is_never_believed(payloads: list[bytes], rest: bytes) -> None:
    assert [payload for _, payload in read(written(*payloads) + rest)] == payloads


def test_a_frame_of_another_place_is_not_taken() -> None:
    data = written(b"a", b"b", b"c")
    size = HEAD_BYTES + 1

    assert read(data[:size] + data[2 * size :]) == [(7, b"a")]


def test_a_payload_has_less_than_4_gib() -> None:
    class Long(bytes):
        def __len__(self) -> int:
            return 1 << 32

    with pytest.raises(ValueError, match="a frame of 4294967296 bytes"):
        frame(1, 0, Long())
