"""What nobody needs any more goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mlserve.runtime.trimming import give_back

PROGRAM = """
import numpy as np
from pathlib import Path
from mlserve.runtime.trimming import give_back

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

kept = [bytearray(60_000) for _ in range(1000)]
last = bytearray(60_000)  # lies above them, so that the heap cannot shrink by itself
before = resident()
del kept
give_back()
print(before - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="malloc_trim is glibc's")
def test_freed_memory_leaves_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)

    assert int(done.stdout) > 40_000_000
    assert give_back()
