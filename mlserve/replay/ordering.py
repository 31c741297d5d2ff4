"""Work that several threads do and one takes in its order, with a bounded number under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")
WAIT_S = 0.1


def in_order(items: Iterable[T], work: Callable[[T], U], *, threads: int, ahead: int = 2) -> Iterator[tuple[T, U]]:
    """Each of ``items`` with what ``work`` makes of it, in order; ``items`` are drawn in a thread of their own.

    At most ``threads`` + ``ahead`` are under way. What drawing or working raises is raised here, in its turn.

    >>> list(in_order(range(3), lambda number: number * 2, threads=2))
    [(0, 0), (1, 2), (2, 4)]
    """
    under_way: deque[tuple[T, Future[U]]] = deque()
    with ThreadPoolExecutor(threads, "replay") as pool:
        try:
            for item in drawn_ahead(items, ahead):
                under_way.append((item, pool.submit(work, item)))
                while len(under_way) >= threads + ahead or (under_way and under_way[0][1].done()):
                    first, future = under_way.popleft()
                    yield first, future.result()
            while under_way:
                first, future = under_way.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def drawn_ahead(items: Iterable[T], ahead: int) -> Iterator[T]:
    """``items``, up to ``ahead`` of them drawn in another thread before they are asked for."""
    queue: Queue[tuple[bool, T | BaseException | None]] = Queue(max(1, ahead))
    is_over = Event()

    def put(entry: tuple[bool, T | BaseException | None]) -> None:
        while not is_over.is_set():
            try:
                queue.put(entry, timeout=WAIT_S)
                return
            except Full:
                continue

    def draw() -> None:
        try:
            for item in items:
                put((True, item))
                if is_over.is_set():
                    return
        except BaseException as error:  # told where the items are taken
            put((False, error))
        else:
            put((False, None))

    thread = Thread(target=draw, name="replay-reading", daemon=True)
    thread.start()
    try:
        while True:
            try:
                # A wait without an end would keep Ctrl-C waiting too.
                is_item, found = queue.get(timeout=WAIT_S)
            except Empty:
                continue
            if not is_item:
                if isinstance(found, BaseException):
                    raise found
                return
            yield found  # type: ignore[misc]  # T itself may be None
    finally:
        is_over.set()
        thread.join()
