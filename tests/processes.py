"""Real ``mlserve`` processes for the tests that need one."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MLSERVE = [sys.executable, "-m", "mlserve"]


@contextmanager
def serving(mlserve: Sequence[str], folder: Path, *words: str) -> Iterator[str]:
    """``mlserve serve WORDS`` on a free port: yields its URL once ready, then SIGTERM, and exit 0 is asserted."""
    with listening(mlserve, folder, *words) as ready:
        yield str(ready["http"])


@contextmanager
def listening(mlserve: Sequence[str], folder: Path, *words: str) -> Iterator[dict[str, Any]]:
    """As ``serving``: yields the event that says where it listens."""
    log = folder / "serve.log"
    with log.open("w") as errors:
        server = subprocess.Popen(
            [*mlserve, "serve", *words, "--port", "0", "--json"],
            cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert line, log.read_text()
            yield json.loads(line)
        finally:
            server.terminate()
            server.communicate(timeout=60)
    assert server.returncode == 0, log.read_text()
