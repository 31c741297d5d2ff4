"""A ring of frames in shared memory: one process writes, one reads, and neither ever waits for the other.

    0 ─────────── 4096 ────────────────────────────────────────── 4096 + capacity
    counters      frames, each on a multiple of 64 bytes:  number, length, requests; payload; number again

``head`` and ``tail`` grow for good; a frame is there once ``head`` lies behind it. Each counter is one aligned store of
8 bytes by one of the two. What a writer left unfinished lies beyond ``head``, where nobody looks; a frame whose number
is not the one expected is damage, and the reader goes on at ``head``. The memory has no name: it is gone with the last
process that has it.
"""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from collections.abc import Sequence

HEADER_BYTES = 4096
ALIGNMENT = 64
LEAST_BYTES = 1 << 16

_FRAME = struct.Struct("<QQQ")
_TRAILER_BYTES = 8
_SKIP = (1 << 64) - 1
"""The length of what is no frame: it says that the next one is at the beginning."""

_STRIDE = ALIGNMENT // 8
_HEAD, _TAIL, _TAKEN, _WRITTEN, _DAMAGED, _DROPPED = (_STRIDE * at for at in range(6))
_LOW_BYTES = 1 << 20
"""An empty ring is used from its beginning again beyond this, so that a reader who keeps up costs little memory."""


class Ring:
    """One end of the ring in the file ``descriptor``, of ``HEADER_BYTES`` and the capacity.

    Whoever made it writes, the other reads: ``write`` in one process, ``take`` in another, each on one thread.
    """

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        self._view = memoryview(self._map)
        self._counters = self._view[:HEADER_BYTES].cast("Q")
        self._frames = self._view[HEADER_BYTES:]
        self.capacity = len(self._frames)
        # Of a reader before us, or of what was lost, it is not known which number comes next.
        self._is_lost = True

    @property
    def used_bytes(self) -> int:
        return int(self._counters[_HEAD] - self._counters[_TAIL])

    @property
    def free_bytes(self) -> int:
        """What a frame may have at most, all that belongs to it included."""
        return self.capacity - self.used_bytes

    @property
    def written(self) -> int:
        """Requests that were ever written."""
        return int(self._counters[_WRITTEN])

    @property
    def taken(self) -> int:
        """Requests up to the last that was taken, whatever became of them; kept when the reader dies."""
        return int(self._counters[_TAKEN])

    @property
    def damaged(self) -> int:
        """How often a frame was not whole."""
        return int(self._counters[_DAMAGED])

    @property
    def dropped(self) -> int:
        """Requests that were to be written, and were not."""
        return int(self._counters[_DROPPED])

    def note_dropped(self, requests: int) -> None:
        """Count what is not in the ring. By the writer."""
        self._counters[_DROPPED] += requests

    def write(self, parts: Sequence[bytes | memoryview], requests: int = 1) -> bool:
        """Write a frame of ``parts``, one after the other, which stands for ``requests``; False where it has no room.

        Each part begins on a multiple of 64 bytes.
        """
        length = sum([_aligned(len(part)) for part in parts])
        counters, capacity = self._counters, self.capacity
        head, tail = counters[_HEAD], counters[_TAIL]
        size = _aligned(_FRAME.size) + length + ALIGNMENT
        at = head % capacity
        skipped = 0
        if at + size > capacity or (head == tail and at > _LOW_BYTES):
            skipped = capacity - at
        if head + skipped + size - tail > capacity:
            return False
        number = counters[_WRITTEN]
        if skipped:
            _FRAME.pack_into(self._frames, at, number, _SKIP, 0)
            at = 0
        frames = self._frames
        _FRAME.pack_into(frames, at, number, length, requests)
        place = at + _aligned(_FRAME.size)
        for part in parts:
            frames[place : place + len(part)] = part
            place += _aligned(len(part))
        frames[place : place + _TRAILER_BYTES] = number.to_bytes(_TRAILER_BYTES, "little")
        counters[_WRITTEN] = number + requests
        counters[_HEAD] = head + skipped + size  # last: from now on the reader sees it
        return True

    def take(self) -> bytes | None:
        """The next frame, copied; None where there is none. It is gone from the ring, even if the reader now dies."""
        counters, frames = self._counters, self._frames
        while True:
            head, tail = counters[_HEAD], counters[_TAIL]
            if head == tail:
                return None
            at = tail % self.capacity
            number, length, requests = _FRAME.unpack_from(frames, at)
            is_next = self._is_lost or number == counters[_TAKEN]
            if is_next and length == _SKIP and tail + self.capacity - at < head:
                counters[_TAIL] = tail + self.capacity - at
                continue
            start = at + _aligned(_FRAME.size)
            end = start + length
            size = _aligned(_FRAME.size) + length + ALIGNMENT
            is_there = size <= head - tail and at + size <= self.capacity
            if not (is_next and is_there) or int.from_bytes(frames[end : end + _TRAILER_BYTES], "little") != number:
                counters[_DAMAGED] += 1
                counters[_TAIL] = head
                self._is_lost = True
                continue
            payload = bytes(frames[start:end])
            self._is_lost = False
            counters[_TAKEN] = number + requests
            counters[_TAIL] = tail + size
            return payload

    def close(self) -> None:
        """Let the memory go. The other end keeps its own."""
        self._counters.release()
        self._frames.release()
        self._view.release()
        self._map.close()


def make_ring(capacity: int) -> int:
    """The descriptor of a new ring's file, of at least ``capacity`` bytes for frames; the caller closes it."""
    size = HEADER_BYTES + max(LEAST_BYTES, -(-capacity // ALIGNMENT) * ALIGNMENT)
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("mlserve-shadow")
    else:  # not Linux: a file that nobody finds
        made, name = tempfile.mkstemp(prefix="mlserve-shadow-")
        os.unlink(name)
        descriptor = made
    os.ftruncate(descriptor, size)
    return descriptor


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
