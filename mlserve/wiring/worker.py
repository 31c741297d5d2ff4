"""``python -m mlserve.wiring.worker``: one of several workers, started by their supervisor.

Its job comes as one line of JSON on stdin, which then stays open: when it closes, the supervisor is gone, and the
worker drains and ends. Events and errors go to stdout, a line of JSON each.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlserve.errors import MlserveError

LIFELINE = 0


def main() -> int:
    """Serve as the job says until told to stop; the exit code."""
    from mlserve.core.telling import error_event
    from mlserve.serving.supervising.seats import Seat
    from mlserve.wiring.serving import serve_targets

    job = json.loads(sys.stdin.buffer.readline())
    place = job["seat"]
    listeners = tuple(tuple(descriptors) for descriptors in place["listeners"])
    seat = Seat(place["number"], place["count"], Path(place["folder"]), listeners, place["succeeds"])
    threading.Thread(target=_hold, name="lifeline", daemon=True).start()
    try:
        serve_targets(
            job["targets"],
            emit=_tell,
            warn=lambda text: print(f"warning: {text}", file=sys.stderr),
            flags=job["flags"],
            config_file=None if job["config_file"] is None else Path(job["config_file"]),
            seat=seat,
        )
    except MlserveError as error:
        _tell(error_event(error))
        return error.exit_code
    return 0


def _tell(event: Mapping[str, Any]) -> None:
    print(json.dumps(event), flush=True)


def _hold() -> None:
    """Wait for stdin to close, which it does when the supervisor ends, however it ends."""
    while os.read(LIFELINE, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
