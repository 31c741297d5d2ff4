"""Memory that nobody needs any more, given back to the system.

What a load takes for a while (the file parsed, weights before they are packed) and what a closed session held stays
with the C library's allocator, which keeps freed memory for later. For MiniLM that is 40 of 140 MiB, at every swap.
"""

from __future__ import annotations

import ctypes
import gc
import threading


def give_back() -> bool:
    """Return free memory to the system, which takes milliseconds; False where the C library has no such call."""
    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    trim(0)
    return True


def give_back_soon() -> None:
    """As ``give_back``, in a thread of its own: for the event loop's thread, which has no milliseconds."""
    threading.Thread(target=give_back, name="give-back", daemon=True).start()
