"""What the server tells about itself, one mapping an event, without ever waiting for whoever reads it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from mlserve.serving.threads import OneThread

log = logging.getLogger(__name__)

Event = dict[str, Any]
Emit = Callable[[Event], None]

MAX_UNREAD = 1000


class Events:
    """Hands events to ``emit`` in a thread of its own, in order, "ready" first; what came before waits until it is out.

    A reader that stops reading costs events beyond ``MAX_UNREAD``, one that goes away all further ones; a terminal that
    is paused, or a pipe nobody empties, must not hold up an answer. Called on the loop's thread.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._early: list[Event] | None = []
        self._thread = OneThread("events")
        self._unread = 0
        self._is_broken = False

    def __call__(self, event: Event) -> None:
        if self._early is not None:
            self._early.append(event)
        elif self._unread < MAX_UNREAD:
            self._unread += 1
            self._thread.submit(self._tell, event)

    def ready(self, event: Event) -> None:
        """Send ``event`` before all others."""
        early, self._early = self._early or [], None
        for one in (event, *early):
            self(one)

    def close(self, timeout_s: float) -> None:
        """Wait until the events so far are read, at most ``timeout_s``."""
        done: Future[None] = self._thread.submit(lambda: None)
        self._thread.shutdown()
        try:
            done.result(timeout_s)
        except TimeoutError:
            log.warning("nobody reads the server's events: %d were not told", self._unread)

    def _tell(self, event: Event) -> None:
        try:
            if not self._is_broken:
                self._emit(event)
        except Exception as error:
            self._is_broken = True
            log.warning("the server's events cannot be told any more: %s", error)
        finally:
            self._unread -= 1
