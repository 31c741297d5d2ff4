"""Where the traffic of each model is captured: servers say so, and commands that look for a capture ask."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, select, update

from mlserve.registry.records import Capture
from mlserve.registry.schema import captures
from mlserve.registry.store import Store, insert_missing

MAX_FOLDER_CHARS = 1024
MAX_HOST_CHARS = 255


def report_captures(store: Store, models: Collection[str], *, host: str, folder: str, now: datetime) -> None:
    """A server on ``host`` captures the traffic of ``models`` in ``folder``, an absolute path. Raises Unavailable.

    Does not add to the epoch. A path that is too long to be kept is not: commands are then told where it is.
    """
    if len(folder) > MAX_FOLDER_CHARS:
        return
    host = host[:MAX_HOST_CHARS]

    def work(connection: Connection) -> None:
        for model in sorted(models):
            key = {"model": model, "host": host, "folder": folder}
            if not insert_missing(connection, captures, key | {"reported_at": now}):
                same = [captures.c[name] == value for name, value in key.items()]
                connection.execute(update(captures).where(*same).values(reported_at=now))

    store.write(work)


def captures_of(store: Store, model: str) -> list[Capture]:
    """Where the traffic of ``model`` is or was captured, the last reported first. Raises Unavailable."""
    query = select(captures).where(captures.c.model == model).order_by(captures.c.reported_at.desc(), captures.c.folder)
    with store.reading() as connection:
        return [Capture(**row._mapping) for row in connection.execute(query)]
