"""Frames: a file that is only ever appended to, in pieces that each prove themselves whole.

    "mlF1" │ kind u8 │ 3 zeros │ length u32 │ number u64 │ CRC-32 u32 │ payload, ``length`` bytes

Little-endian. The CRC is of the 20 bytes before it and the payload; numbers count from 0. So any prefix of a file is
whole frames and at most one broken end, and a flipped bit anywhere ends the reading there instead of being believed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from struct import Struct
from typing import BinaryIO
from zlib import crc32

MAGIC = b"mlF1"
_LEAD = Struct("<4sB3xIQ")
_CRC = Struct("<I")
HEAD_BYTES = _LEAD.size + _CRC.size
MAX_PAYLOAD_BYTES = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One piece: its ``kind``, as whoever wrote it meant it, and its content."""

    kind: int
    number: int
    payload: bytes


def frame(kind: int, number: int, payload: bytes | memoryview) -> bytes:
    """The head that goes before ``payload`` in the file. Raises ValueError for 4 GiB or more.

    >>> len(frame(1, 0, b"content")) == HEAD_BYTES
    True
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a frame of {len(payload)} bytes")
    lead = _LEAD.pack(MAGIC, kind, len(payload), number)
    return lead + _CRC.pack(crc32(payload, crc32(lead)))


def append_frame(fd: int, at: int, kind: int, number: int, payload: bytes | memoryview) -> int:
    """Write a frame behind the ``at`` bytes that the file open at ``fd`` has, whole or not at all; how many bytes.

    Raises OSError where the disk does not take it.
    """
    content = memoryview(payload)
    pieces = [memoryview(frame(kind, number, content)), content]
    written = 0
    try:
        while pieces:
            count = os.writev(fd, pieces)
            written += count
            while pieces and count >= len(pieces[0]):
                count -= len(pieces.pop(0))
            if count:
                pieces[0] = pieces[0][count:]
    except OSError:
        with suppress(OSError):  # a later frame behind half a one would never be read
            os.ftruncate(fd, at)
            os.lseek(fd, at, os.SEEK_SET)
        raise
    return written


def is_cut_short(head: bytes, left_bytes: int) -> bool:
    """Whether what begins with ``head`` and has ``left_bytes`` in all is a frame that was never written to its end.

    >>> is_cut_short(frame(1, 0, b"content"), HEAD_BYTES + 3), is_cut_short(b"x" * HEAD_BYTES, 1000)
    (True, False)
    """
    if left_bytes < HEAD_BYTES:
        return True
    magic, _, length, _ = _LEAD.unpack_from(head)
    return bool(magic == MAGIC and HEAD_BYTES + length > left_bytes)


class Frames:
    """The frames of a file, in order, up to its end or the first that is not whole; one is in memory at a time.

    ``end`` is where the last whole frame so far ends, ``number`` how many there are up to there; what lies behind was
    never finished, or was damaged. Who has read some of them before gives both, and gets those that came since. With
    ``limit_bytes`` the file ends there, however much it has grown.
    """

    def __init__(self, file: BinaryIO, end: int = 0, number: int = 0, *, limit_bytes: int | None = None) -> None:
        self._file = file
        self._from = end, number
        self._limit_bytes = limit_bytes
        self.end = end
        self.number = number

    def __iter__(self) -> Iterator[Frame]:
        size = self._file.seek(0, os.SEEK_END)  # what comes while it is read waits for the next time
        if self._limit_bytes is not None:
            size = min(size, self._limit_bytes)
        self.end, self.number = self._from
        self._file.seek(self.end)
        while (found := self._next(self.number, size)) is not None:
            self.end += HEAD_BYTES + len(found.payload)
            self.number += 1
            yield found

    def _next(self, number: int, size: int) -> Frame | None:
        head = self._file.read(HEAD_BYTES)
        if len(head) < HEAD_BYTES:
            return None
        magic, kind, length, written_number = _LEAD.unpack_from(head)
        if magic != MAGIC or written_number != number:
            return None
        if self.end + HEAD_BYTES + length > size:
            return None  # a damaged length must not make room for 4 GiB
        payload = self._file.read(length)
        (checksum,) = _CRC.unpack_from(head, _LEAD.size)
        if len(payload) < length or crc32(payload, crc32(head[: _LEAD.size])) != checksum:
            return None
        return Frame(kind, number, payload)
