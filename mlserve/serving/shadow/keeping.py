"""``Keeper``: the process of one shadow kept running, asked now and then, and ended; all in a thread of its own."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Literal

import msgspec

from mlserve.errors import CorruptArtefact, InvalidInput, MlserveError, Unavailable
from mlserve.serving.generation.process import ChildEnded, ChildProcess
from mlserve.serving.shadow.messages import Opening, Told
from mlserve.serving.shadow.ring import Ring
from mlserve.serving.supervising.backoff import Backoff

log = logging.getLogger(__name__)

TELL_S = 1.0
ANSWER_S = 120.0
"""How long a process that has the lowest priority may take to answer, before it is taken to hang."""

END_S = 2.0
"""How long a shadow that ends may go on with what it has."""

COMMAND = (sys.executable, "-m", "mlserve.serving.shadow.child")

State = Literal["starting", "comparing", "restarting", "failed", "ended"]
Document = dict[str, Any]
Start = Callable[[Sequence[int]], ChildProcess]


def start_child(descriptors: Sequence[int]) -> ChildProcess:
    """A new process for a shadow, which has our files ``descriptors`` too."""
    return ChildProcess(COMMAND, descriptors=descriptors)


class Keeper:
    """Keeps what ``prepare`` describes running until ``end``. Every callback comes in the keeper's thread.

    A process that ends is started again, half a second later and then twice that each time, up to half a minute; a
    version that cannot be used is not tried again. ``on_change`` is told of each new ``state``, ``on_document`` gets
    what is known every ``evidence_s``, and at the end, with True.
    """

    def __init__(
        self,
        ref: str,
        descriptor: int,
        prepare: Callable[[], Opening],
        *,
        open_limit_s: float,
        evidence_s: float,
        on_change: Callable[[Keeper], None],
        on_document: Callable[[Document, bool], None],
        start: Start,
        backoff: Backoff | None = None,
    ) -> None:
        self.ref = ref
        self.ring = Ring(descriptor)
        self.state: State = "starting"
        self.reason = ""
        self.told = Told()
        self.starts = 0
        self.is_proven = False
        self._descriptor = descriptor
        self._prepare = prepare
        self._open_limit_s = open_limit_s
        self._evidence_s = evidence_s
        self._on_change = on_change
        self._on_document = on_document
        self._start = start
        self._backoff = backoff or Backoff()
        self._ending = threading.Event()
        self._asked: SimpleQueue[Future[Document] | None] = SimpleQueue()
        self._opening: Opening | None = None
        self._child: ChildProcess | None = None
        self._has_last = False
        self.ended: Future[None] = Future()
        threading.Thread(target=self._run, name=f"keeper of {ref} in shadow", daemon=True).start()

    @property
    def pid(self) -> int | None:
        """The process's number, None while there is none."""
        child = self._child
        return None if child is None else child.pid

    def document(self) -> Future[Document]:
        """What is known; Unavailable where the version was never got as far as that."""
        future: Future[Document] = Future()
        self._asked.put(future)
        return future

    def end(self) -> None:
        """End the process, after its last words if it has any. ``ended`` is done when it is."""
        self._ending.set()
        self._asked.put(None)
        if self.state != "comparing":
            self.kill()

    def kill(self) -> None:
        """End the process now, in the middle of what it does."""
        child = self._child
        if child is not None:
            child.kill()

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                born_s = time.monotonic()
                error = self._live()
                if self._ending.is_set():
                    break
                is_hopeless = not _is_worth_another(error)
                self._become("failed" if is_hopeless else "restarting", error.message)
                wait_s = None if is_hopeless else self._backoff.after(time.monotonic() - born_s)
                self._wait(wait_s)
            if self.is_proven and not self._has_last:
                self._on_document(self._from_file(), True)
            self._become("ended", "")
        except BaseException:
            log.exception("the keeper of %s", self.ref)
        finally:
            self._answer_all()
            self.ring.close()
            os.close(self._descriptor)
            self.ended.set_result(None)

    def _live(self) -> MlserveError:
        """One process, from its start to its end; why it ended."""
        try:
            opening = self._opening = self._opening or self._prepare()
            child = self._child = self._start((self._descriptor,))
        except MlserveError as error:
            return error
        except OSError as error:
            return Unavailable(f"the process cannot be started: {error.strerror}")
        self.starts += 1
        try:
            child.ask({"ask": "open", "opening": msgspec.to_builtins(opening)}, self._open_limit_s)
            self.is_proven = True
            self._become("comparing", "")
            return self._converse(child)
        except MlserveError as error:
            return error
        finally:
            self._child = None
            child.end()

    def _converse(self, child: ChildProcess) -> MlserveError:
        """Ask until the end: what it counts, once a second, and whatever somebody wants to know."""
        evident_at_s = time.monotonic() + self._evidence_s
        while True:
            question = self._next_question(TELL_S)
            if self._ending.is_set():
                last = child.ask({"ask": "end", "within_s": END_S}, ANSWER_S)
                self._has_last = True
                self.told = msgspec.convert(last["told"], Told)
                self._on_document(last["document"], True)
                return Unavailable("ended")
            if question is not None:
                _answer(question, lambda: self._said_by(child))
            told = child.ask({"ask": "tell"}, ANSWER_S)["told"]
            self.told = msgspec.convert(told, Told)
            if time.monotonic() >= evident_at_s:
                evident_at_s = time.monotonic() + self._evidence_s
                self._on_document(self._said_by(child), False)

    def _said_by(self, child: ChildProcess) -> Document:
        document: Document = child.ask({"ask": "document"}, ANSWER_S)["document"]
        return document

    def _next_question(self, timeout_s: float) -> Future[Document] | None:
        try:
            return self._asked.get(timeout=timeout_s)
        except Empty:
            return None

    def _wait(self, wait_s: float | None) -> None:
        """Until it is time for another process (None: for good) or the end; questions are answered from the file."""
        until_s = None if wait_s is None else time.monotonic() + wait_s
        while not self._ending.is_set():
            left_s = 3600.0 if until_s is None else until_s - time.monotonic()
            if left_s <= 0:
                return
            question = self._next_question(left_s)
            if question is not None:
                _answer(question, self._from_file)

    def _from_file(self) -> Document:
        """What the last process left behind, told here for want of another."""
        if self._opening is None:
            raise Unavailable(f"{self.ref} is not in shadow yet: {self.reason or self.state}")
        from mlserve.serving.shadow.comparing import Comparing

        comparing = Comparing(self._opening, self.ring)
        self.told = comparing.told()
        return comparing.document()

    def _become(self, state: State, reason: str) -> None:
        self.state, self.reason = state, reason
        self._on_change(self)

    def _answer_all(self) -> None:
        while (question := self._next_question(0.0)) is not None:
            question.set_exception(Unavailable(f"{self.ref} is no longer in shadow"))


def _answer(question: Future[Document], find: Callable[[], Document]) -> None:
    if not question.set_running_or_notify_cancel():
        return
    try:
        question.set_result(find())
    except ChildEnded as error:
        question.set_exception(Unavailable("the shadow's process ended while it was asked; ask again"))
        raise error
    except MlserveError as error:
        question.set_exception(error)


def _is_worth_another(error: MlserveError) -> bool:
    """Whether another try may end otherwise: not for a version that cannot be used, whatever uses it."""
    return not isinstance(error, InvalidInput) or isinstance(error, CorruptArtefact)
