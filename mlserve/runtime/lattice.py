"""The few sizes that batches have on a device, so that graphs, tuned kernels and memory are made once for each.

    rows 1 2 3 4 5 6 7 8 9 …        a batch of 5 rows runs as one of 8; the three rows added are cut off again
    size 1 2 4 4 8 8 8 8 16 …

Sizes that vary freely make an arena grow without end (onnxruntime#24376: 16, 7, 7, 7, …) and a CUDA graph useless.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence


def lattice(max_rows: int, preferred: Collection[int] = ()) -> tuple[int, ...]:
    """The powers of two up to ``max_rows``, that itself, and what of ``preferred`` is below it, ascending.

    >>> lattice(24, preferred=(6,))
    (1, 2, 4, 6, 8, 16, 24)
    """
    powers = {1 << exponent for exponent in range(max_rows.bit_length())}
    return tuple(sorted(size for size in {*powers, max_rows, *preferred} if 0 < size <= max_rows))


def size_for(rows: int, sizes: Sequence[int]) -> int | None:
    """The smallest of ``sizes`` (ascending) that holds ``rows``, None where none does.

    >>> size_for(5, (1, 2, 4, 8)), size_for(9, (1, 2, 4, 8))
    (8, None)
    """
    at = bisect_left(sizes, rows)
    return sizes[at] if at < len(sizes) else None
