"""A target under atheris, which looks for inputs that take new ways through the server.

    python -m tests.serving.fuzzing.driving TARGET CORPUS [libFuzzer's options]

CORPUS is a folder; the valid requests are put into it, and what was found. A rule that breaks ends it with a traceback,
and the input is left in the working directory.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mlserve.serving", "mlserve.protocol"]):
    from tests.serving.fuzzing.server import Server
    from tests.serving.fuzzing.targets import TARGETS, seeds


def main(name: str, corpus: Path) -> None:
    """Fuzz the target ``name`` until libFuzzer has had enough, which ends the process."""
    for number, seed in enumerate(seeds(name)):
        (corpus / f"seed-{number}").write_bytes(seed)
    # The server logs its bugs, and a bug here ends the run with a traceback of its own.
    logging.disable(logging.WARNING)
    server, target = Server(), TARGETS[name]
    atheris.Setup([sys.argv[0], str(corpus), *sys.argv[3:]], lambda data: target(server, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
