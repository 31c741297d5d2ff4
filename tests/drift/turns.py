"""What a process does that takes a turn; a module of its own so that a spawned process can import it."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier

from mlserve.drift.running import alone
from mlserve.errors import Conflict
from mlserve.registry.store import open_store

NAME = "drift fraud"


def take(url: str, start: Barrier, asked: Barrier) -> bool:
    """Whether this process got the turn, of all that ask at ``start``; kept until all have ``asked``."""
    store = open_store(url)
    start.wait(60)
    try:
        with alone(store, NAME, clock=lambda: datetime.now(UTC)):
            asked.wait(60)
            return True
    except Conflict:
        asked.wait(60)
        return False
    finally:
        store.close()


def take_and_hang(url: str) -> None:
    """Take the turn, say so on stdout, and never let go."""
    with alone(open_store(url), NAME, clock=lambda: datetime.now(UTC)):
        print("taken", flush=True)
        time.sleep(600)


if __name__ == "__main__":
    take_and_hang(sys.argv[1])
