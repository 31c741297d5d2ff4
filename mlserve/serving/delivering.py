"""Answers handed over: each to whoever waits for it, then counted, then told to what follows an answer; once a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import monotonic

from mlserve.errors import DeadlineExceeded
from mlserve.serving.accounting import Accounts
from mlserve.serving.batching import Waiting
from mlserve.serving.loaded import Loaded, Run
from mlserve.serving.splitting import Whole

log = logging.getLogger(__name__)


OnAnswered = Callable[[Loaded, Run], None]
"""What follows an answer: called once a run, on the loop, when its answers have been handed over and counted.

``run`` has the requests with their decoded tensors and unit keys, and the outputs or the error; of a request in pieces
each piece is in a run of its own, marked ``is_piece`` but for the last. It must be quick, and copy what it keeps of a
run that was inline. What it raises is logged; no request notices.
"""

Retry = Callable[[Loaded, Waiting], bool]
"""Whether a request that a version could not answer waits for another one now."""


class Delivering:
    """Ends requests. On the loop's thread."""

    def __init__(self, accounts: Accounts, retry: Retry, on_answered: OnAnswered | None = None) -> None:
        self._accounts = accounts
        self._retry = retry
        self._on_answered = on_answered

    def follow(self, on_answered: OnAnswered | None) -> None:
        """Have ``on_answered`` called from now on, in place of what was."""
        self._on_answered = on_answered

    def deliver(self, loaded: Loaded, runs: Sequence[Run]) -> None:
        """Hand over what came of ``runs``."""
        account = self._accounts.of(loaded.name, loaded.version)
        for run in runs:
            batch: Sequence[Waiting] = run.batch
            gone: list[Waiting] = []
            has_pieces = loaded.queue.wholes > 0
            outcome = run.outcome
            if isinstance(outcome, Exception) and self._retry(loaded, batch[0]):
                account.note_failure(batch[0], monotonic())
                if self._on_answered is not None:
                    _tell(self._on_answered, loaded, run)
                continue
            for waiting, answer in zip(batch, run.answers(), strict=True):
                deliver = waiting.deliver
                if deliver is None:
                    gone.append(waiting)
                    continue
                waiting.deliver = None
                if waiting.timer is not None:
                    waiting.timer.cancel()
                    waiting.timer = None
                try:
                    deliver(answer)
                except Exception:
                    log.exception("an answer could not be delivered")
            ended_s = monotonic()
            if isinstance(outcome, Exception):
                if not gone:
                    account.note_failure(batch[0], ended_s)
            elif outcome.timing is not None:
                if gone or has_pieces:
                    batch = [waiting for waiting in batch if not waiting.is_piece and waiting not in gone]
                account.note_run(batch, outcome.timing, ended_s)
            if self._on_answered is not None:
                _tell(self._on_answered, loaded, run)

    def expire(self, loaded: Loaded, waiting: Waiting | Whole) -> None:
        """Tell a request that its time is over, unless it was answered or cancelled."""
        deliver = waiting.end()
        if deliver is None:
            return
        account = self._accounts.of(loaded.name, loaded.version)
        account.note_rejection("expired")
        account.note_shared([waiting.arrived_s], monotonic(), is_failure=True)
        try:
            deliver(DeadlineExceeded("the request's time limit passed before it was answered"))
        except Exception:
            log.exception("an answer could not be delivered")


def _tell(on_answered: OnAnswered, loaded: Loaded, run: Run) -> None:
    try:
        on_answered(loaded, run)
    except Exception:
        log.exception("what follows an answer went wrong")
