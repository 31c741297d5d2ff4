"""``mlserve serve`` in the background, for as long as a ``with`` block lasts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.story import command, environment


@contextmanager
def serving(folder: Path, log: Path, *words: str) -> Iterator[str]:
    """Start ``mlserve serve WORDS --json`` in ``folder`` on a free port and yield its URL once it is ready.

    The server's lines go to ``log``. It is asked to stop (SIGTERM) at the end and must then exit with 0.
    """
    with log.open("w", encoding="utf-8") as errors:
        server = subprocess.Popen(
            [*command(), "serve", *words, "--port", "0", "--json"],
            cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line:
                sys.exit(f"the server did not start:\n{log.read_text(encoding='utf-8')}")
            yield str(json.loads(line)["http"])
        finally:
            server.terminate()
            server.communicate(timeout=60)
    if server.returncode != 0:
        sys.exit(f"the server exited with {server.returncode}:\n{log.read_text(encoding='utf-8')}")
