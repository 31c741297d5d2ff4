"""However large a capture is, a replay holds some thousands of requests at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlserve.compare.ladder.comparison import Comparison
from mlserve.replay.findings import Findings
from mlserve.replay.found import Found
from mlserve.replay.replaying import Plan, replay_fast
from mlserve.rows.captured_reading import Captured
from tests import models
from tests.replay.making import loaded, version
from tests.traffic.making import recorded, writer

MORE_MB = 160
"""What a capture of any size may take beyond a small one: samples that fill, blocks under way."""

SMALL_ROWS, SHORT_ROWS, FULL_ROWS = 20_000, 200_000, 10_000_000
A_REQUEST = 8


def written(folder: Path, rows: int) -> None:
    """A capture of so many rows, eight a request, as the model of ``models.classifier`` is asked and answers."""
    from mlserve.traffic.recorded import Source

    with loaded(models.classifier()) as model:
        source = Source("m", 1, "sha256:1", model.signature)
        requests = 512
        x = np.random.default_rng(0).normal(size=(requests * A_REQUEST, 4)).astype(np.float32)
        outputs = model.run({"x": x})
        one = writer(folder)
        for number in range(0, rows, requests * A_REQUEST):
            part = min(requests, (rows - number) // A_REQUEST)
            count = part * A_REQUEST
            one.write(
                [
                    recorded(
                        [A_REQUEST] * part,
                        start=number,
                        at_s=number / 1e5,
                        source=source,
                        inputs={"x": x[:count]},
                        outputs={name: array[:count] for name, array in outputs.items()},
                        batch_id=number,
                    )
                ]
            )
        one.close()


def peak_mb(capture: Path, rows: int) -> float:
    """The largest resident size of a process that replays ``capture`` through another model."""
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from tests.replay.test_large import *\n"
        "state = Found([Findings(Comparison())])\n"
        "with loaded(models.classifier(seed=1)) as model:\n"
        f"    replay_fast(Captured(Path({str(capture)!r})), [version(model, max_rows=512)], Plan(), state)\n"
        f"assert state.candidates[0].rows == {rows}, state.candidates[0].rows\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"MALLOC_ARENA_MAX": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_memory_does_not_grow_with_the_capture(tmp_path: Path, in_full: bool) -> None:
    rows = FULL_ROWS if in_full else SHORT_ROWS
    written(tmp_path / "small", SMALL_ROWS)
    written(tmp_path / "large", rows)

    assert peak_mb(tmp_path / "large", rows) < peak_mb(tmp_path / "small", SMALL_ROWS) + MORE_MB


__all__ = ["Captured", "Comparison", "Findings", "Found", "Plan", "loaded", "models", "replay_fast", "version"]
