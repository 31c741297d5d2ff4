"""``ChildRunner``: a language model that is kept running in a process of its own, behind the port of all runners."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from mlserve.checkpoint.generation import (
    FINISH_REASON,
    INPUT_TOKENS,
    KIND,
    OUTPUT_TOKENS,
    SIGNATURE,
    TEXT_INPUT,
    TEXT_OUTPUT,
    USUAL,
    Wish,
)
from mlserve.core.tensors import Signature
from mlserve.errors import MlserveError, Unavailable
from mlserve.runtime.certificate import Certificate
from mlserve.runtime.runner import Arrays
from mlserve.serving.generation.process import ChildEnded, ChildHangs, ChildProcess
from mlserve.serving.supervising.backoff import Backoff

log = logging.getLogger(__name__)

GRACE_S = 10.0
"""Beyond the time that a run may take, before its process is taken to hang."""

NO_SEED = -1
MAX_TOKENS, TEMPERATURE, TOP_P, SEED, ECHOES = "max_tokens", "temperature", "top_p", "seed", "echoes"
"""Arrays beside the text, one value a row; what is not given is as ``USUAL``."""


class ChildRunner:
    """Runs what ``opening`` asks a new process to open. ``run_limit_s`` is what one run may take.

    A process that ends is started again, half a second later and then twice that each time, up to half a minute; what
    it had is answered with Unavailable, and so is what comes while there is none. Raises what opening raises.
    """

    signature: Signature = SIGNATURE
    platform = KIND
    is_repeatable = False
    is_elsewhere = True

    def __init__(
        self,
        opening: Mapping[str, Any],
        *,
        open_limit_s: float,
        run_limit_s: float,
        start: Callable[[], ChildProcess] = ChildProcess,
        backoff: Backoff | None = None,
    ) -> None:
        self._opening = opening
        self._label = str(opening["label"])
        self._open_limit_s = open_limit_s
        self._run_limit_s = run_limit_s
        self._start = start
        self._backoff = backoff or Backoff()
        self._closing = threading.Event()
        self._child: ChildProcess | None
        self._child, told = self._opened()
        self.certificate = Certificate.from_dict(told["certificate"])
        self.run_s: float = told["run_s"]
        self.providers: tuple[str, ...] = (self.certificate.provider,)
        threading.Thread(target=self._keep, args=(self._child,), name=f"keeper of {self._label}", daemon=True).start()

    @property
    def is_up(self) -> bool:
        return self._child is not None

    @property
    def pid(self) -> int | None:
        """The process's number, None while there is none."""
        child = self._child
        return None if child is None else child.pid

    def run(self, inputs: Mapping[str, np.ndarray[Any, Any]], outputs: Sequence[str] | None = None) -> Arrays:
        """Continue each text of ``text_input``. Raises as ``Runner.run``, and DeadlineExceeded."""
        prompts = [str(text) for text in inputs[TEXT_INPUT]]
        question = {
            "ask": "generate",
            "prompts": prompts,
            "wishes": [asdict(wish) for wish in _wishes(inputs, len(prompts))],
            "limit_s": self._run_limit_s,
        }
        child = self._child
        if child is None:
            raise Unavailable(f"the process of '{self._label}' ended, and is being started again")
        try:
            texts = child.ask(question, self._run_limit_s + GRACE_S)["texts"]
        except ChildEnded as error:
            self._lose(child)
            raise Unavailable(f"the process of '{self._label}' ended before it had answered") from error
        except ChildHangs:
            self._lose(child)
            raise
        return _arrays(texts, outputs)

    def close(self) -> None:
        self._closing.set()
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def _opened(self) -> tuple[ChildProcess, dict[str, Any]]:
        child = self._start()
        try:
            return child, child.ask(self._opening, self._open_limit_s)
        except BaseException:
            child.end()
            raise

    def _lose(self, child: ChildProcess) -> None:
        """No more questions to ``child``, which its keeper then replaces."""
        if self._child is child:
            self._child = None
        child.end()

    def _keep(self, child: ChildProcess | None) -> None:
        """Wait for the end of each process, and start the next."""
        born_s = time.monotonic()
        while True:
            if child is not None:
                code = child.wait()
                if self._closing.is_set():
                    return
                self._lose(child)
                log.warning("the process of '%s' ended (%s) and is started again", self._label, code)
            if self._closing.wait(self._backoff.after(time.monotonic() - born_s)):
                return
            born_s = time.monotonic()
            try:
                child, _ = self._opened()
            except (MlserveError, OSError) as error:
                log.warning("the process of '%s' cannot be started: %s", self._label, error)
                child = None
                continue
            self._child = child
            if self._closing.is_set():
                self._lose(child)
                return


def _wishes(inputs: Mapping[str, np.ndarray[Any, Any]], rows: int) -> list[Wish]:
    if MAX_TOKENS not in inputs:
        return [USUAL] * rows
    return [
        Wish(int(most), float(heat), float(share), None if seed == NO_SEED else int(seed), bool(echoes))
        for most, heat, share, seed, echoes in zip(
            *(inputs[name] for name in (MAX_TOKENS, TEMPERATURE, TOP_P, SEED, ECHOES)), strict=True
        )
    ]


def _arrays(texts: Sequence[Sequence[Any]], outputs: Sequence[str] | None) -> Arrays:
    columns = list(zip(*texts, strict=True)) or [(), (), (), ()]
    found = {
        TEXT_OUTPUT: _strings(columns[0]),
        FINISH_REASON: _strings(columns[1]),
        INPUT_TOKENS: np.array(columns[2], np.int32),
        OUTPUT_TOKENS: np.array(columns[3], np.int32),
    }
    return found if outputs is None else {name: found[name] for name in outputs}


def _strings(values: Sequence[str]) -> np.ndarray[Any, Any]:
    made = np.empty(len(values), object)
    made[:] = values
    return made
