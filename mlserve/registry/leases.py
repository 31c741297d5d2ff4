"""Who may do something now, where two at once would do harm: a lease that ends by itself if its holder does.

A holder that was away for longer than its lease (a machine that slept) still believes that it has it. So each lease has
a token, larger than that of every one before; what is written under a lease is refused when the token is not the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from mlserve.errors import Conflict
from mlserve.registry.schema import leases
from mlserve.registry.store import Store, insert_missing


@dataclass(frozen=True, slots=True)
class Lease:
    """``holder`` may do what ``name`` says until ``expires_at``; ``token`` grows with each new lease of that name."""

    name: str
    holder: str
    token: int
    expires_at: datetime


def acquire(store: Store, name: str, holder: str, *, now: datetime, ttl_s: float) -> Lease | None:
    """A lease for ``ttl_s`` seconds; None while another holder has one, or this holder another one of its own.

    Raises Unavailable.
    """
    until = now + timedelta(seconds=ttl_s)

    def work(connection: Connection) -> Lease | None:
        first = {"name": name, "holder": holder, "token": 1, "expires_at": until}
        if insert_missing(connection, leases, first):
            return Lease(name, holder, 1, until)
        row = _locked(connection, name)
        assert row is not None, "a lease is never deleted"
        if row.expires_at > now:
            return None
        changed = {"holder": holder, "token": row.token + 1, "expires_at": until}
        connection.execute(update(leases).where(leases.c.name == name).values(changed))
        return Lease(name, holder, row.token + 1, until)

    return store.write(work)


def holder_of(store: Store, name: str, *, now: datetime) -> Lease | None:
    """Who has the lease now; None where it is free. Raises Unavailable."""
    with store.reading() as connection:
        row = connection.execute(select(leases).where(leases.c.name == name, leases.c.expires_at > now)).first()
    return None if row is None else Lease(row.name, row.holder, row.token, row.expires_at)


def renew(store: Store, lease: Lease, *, now: datetime, ttl_s: float) -> Lease:
    """The same lease, from now on for ``ttl_s`` seconds. Raises Conflict where it was lost, Unavailable."""
    until = now + timedelta(seconds=ttl_s)

    def work(connection: Connection) -> Lease:
        require(connection, lease)
        connection.execute(update(leases).where(leases.c.name == lease.name).values(expires_at=until))
        return Lease(lease.name, lease.holder, lease.token, until)

    return store.write(work)


def release(store: Store, lease: Lease, *, now: datetime) -> None:
    """Let it go at once, if it is still ours. Raises Unavailable."""

    def work(connection: Connection) -> None:
        ours = (leases.c.name == lease.name) & (leases.c.token == lease.token)
        connection.execute(update(leases).where(ours).values(expires_at=now))

    store.write(work)


def require(connection: Connection, lease: Lease) -> None:
    """Nothing where no later lease of that name was given, until the transaction ends. Raises Conflict.

    One that has run out while nobody else asked for it still counts: nobody can have written in between.
    """
    row = _locked(connection, lease.name)
    if row is None or row.token != lease.token:
        holder = "nobody" if row is None else f"'{row.holder}'"
        raise Conflict(f"the lease '{lease.name}' was lost: {holder} has it now", hint="a longer time limit")


def _locked(connection: Connection, name: str) -> Row[Any] | None:
    return connection.execute(select(leases).where(leases.c.name == name).with_for_update()).first()
