"""A lease is held by one at a time, ends by itself, and what was lost cannot be written under."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from mlserve.errors import Conflict
from mlserve.registry.leases import acquire, release, renew, require
from mlserve.registry.store import Store, open_store
from tests.registry.making import at


def test_one_holder_at_a_time(store: Store) -> None:
    first = acquire(store, "drift fraud", "one", now=at(0), ttl_s=60)

    assert first is not None
    assert acquire(store, "drift fraud", "other", now=at(0.5), ttl_s=60) is None
    assert acquire(store, "drift churn", "other", now=at(0.5), ttl_s=60) is not None


def test_a_lease_that_ran_out_goes_to_the_next_with_a_larger_token(store: Store) -> None:
    first = acquire(store, "drift", "one", now=at(0), ttl_s=60)
    second = acquire(store, "drift", "other", now=at(1), ttl_s=60)

    assert first is not None
    assert second is not None
    assert second.token == first.token + 1
    with pytest.raises(Conflict, match="was lost: 'other' has it now"):
        renew(store, first, now=at(1.5), ttl_s=60)
    with pytest.raises(Conflict), store.writing() as connection:
        require(connection, first)


def test_a_renewed_lease_lasts_and_a_released_one_is_free(store: Store) -> None:
    lease = acquire(store, "drift", "one", now=at(0), ttl_s=60)
    assert lease is not None

    lease = renew(store, lease, now=at(0.9), ttl_s=60)

    assert acquire(store, "drift", "other", now=at(1.5), ttl_s=60) is None
    release(store, lease, now=at(1.6))
    assert acquire(store, "drift", "other", now=at(1.6), ttl_s=60) is not None


def test_of_many_at_once_one_gets_it(url: str) -> None:
    def ask(number: int) -> bool:
        store = open_store(url)
        try:
            return acquire(store, "drift", f"holder {number}", now=at(0), ttl_s=60) is not None
        finally:
            store.close()

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 1
