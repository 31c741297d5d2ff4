"""Memory stays where it is while requests of all sizes come, for as long as they come."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="resident memory is read from Linux's /proc")
@pytest.mark.parametrize(
    ("model", "short", "full", "growth_mib"),
    [
        # The largest batches of a model this small are kilobytes: what grows is Python's or the allocator's.
        pytest.param("tabular", 20_000, 1_000_000, 4.0, id="tabular"),
        # A run of 16 rows of 128 tokens takes some 50 MiB; what two lanes need at once was seen while warming up.
        pytest.param("minilm", 60, 3_000, 24.0, id="minilm"),
    ],
)
def test_memory_stays_level_over_requests_of_all_sizes(
    model: str, short: int, full: int, growth_mib: float, *, in_full: bool
) -> None:
    command = [sys.executable, "-m", "tests.serving.soaking", model, str(full if in_full else short)]

    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    marks = json.loads(done.stdout.splitlines()[-1])["resident_mib"]
    assert len(marks) == 11
    assert max(marks) - marks[0] <= growth_mib, marks
