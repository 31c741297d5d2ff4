"""Open files: each client is one, and shells often allow a process fewer than the clients that a server takes."""

from __future__ import annotations

import sys

SPARE = 256
"""Files that are no clients: libraries, models, the registry, logs."""


def allow_files(clients: int) -> int | None:
    """Raise the process's own limit so that ``clients`` fit, as far as it may; how many then do.

    None where there is no such limit. The limit is never lowered.
    """
    if sys.platform == "win32":
        return None
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    wanted = clients + SPARE
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(0, soft - SPARE)
