"""``python -m mlserve.serving.shadow.child``: a process that holds a version in shadow, and reads what is mirrored.

It gets what nobody else wants: the lowest priority, and the first place when memory runs out. Its stdin is its
lifeline: when that closes, however the server ended, it ends at once. Questions are answered by a thread beside the
one that runs the model, so that a slow run keeps nobody waiting.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import msgspec

from mlserve.core.settings import ServeSettings
from mlserve.core.telling import error_event
from mlserve.errors import InvalidInput, MlserveError
from mlserve.runtime.generation import messages
from mlserve.runtime.precision import precision_of
from mlserve.serving.shadow.comparing import Comparing
from mlserve.serving.shadow.messages import Opening
from mlserve.serving.shadow.mirrored import mirrored_in
from mlserve.serving.shadow.ring import Ring
from mlserve.serving.shadow.running import ShadowModel, open_shadow

if TYPE_CHECKING:
    from mlserve.serving.shadow.labelling import Labelling
    from mlserve.serving.shadow.pairing import PairWriter

log = logging.getLogger(__name__)

NICE = 19
FIRST_KILLED = b"1000"
"""What the kernel adds to a process's claim to be killed when memory runs out, at most."""

KEEP_S = 1.0
"""How often what was learned is put into its file."""

WRITE_S = 0.4
LEAST_NAP_S, LONGEST_NAP_S = 2e-3, 5e-2


def main() -> None:
    """Read the ring until told to end, or until the lifeline is cut."""
    give_way()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever libraries print must not come between answers
    child = Child()
    asked: SimpleQueue[dict[str, Any]] = SimpleQueue()

    def answer(message: Mapping[str, Any]) -> None:
        frame = messages.pack(message)
        while frame:
            frame = frame[answers.write(frame) :]

    def listen() -> None:
        # A server that was killed while it asked takes no answer.
        with suppress(BrokenPipeError):
            while (question := messages.read(sys.stdin.buffer)) is not None:
                if question["ask"] == "open":
                    # Known before anything else is done: if the server ends now, its folder is found all the same.
                    child.opening = msgspec.convert(question["opening"], Opening)
                if question["ask"] in ("open", "end"):
                    asked.put(question)
                else:
                    answer(child.answer(question))
        child.abandon()
        os._exit(0)

    lifeline = threading.Thread(target=listen, name="lifeline", daemon=True)
    lifeline.start()
    asked.get()
    opened = child.open()
    answer(opened)
    if opened["event"] != "opened":
        lifeline.join()  # the server ends us
    child.work(asked, answer)


def give_way() -> None:
    """Have the processor only when nobody else wants it, and memory only as long as there is any."""
    with suppress(OSError):
        os.nice(NICE)
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(FIRST_KILLED)


class Child:
    """Opens the version of ``opening``, then takes frame after frame."""

    def __init__(self) -> None:
        self.opening: Opening | None = None
        self._ring: Ring | None = None
        self._model: ShadowModel | None = None
        self._comparing: Comparing | None = None
        self._pairs: PairWriter | None = None
        self._labelling: Labelling | None = None
        self._kept_at_s = self._wrote_at_s = time.monotonic()

    def open(self) -> dict[str, Any]:
        """Be ready; what to say of it. Never raises."""
        opening = self.opening
        assert opening is not None
        try:
            self._ring = Ring(opening.ring)
            settings = msgspec.convert(opening.serve, ServeSettings)
            self._model = open_shadow(
                Path(opening.path),
                label=opening.ref,
                device=settings.shadow_device,
                threads=settings.shadow_threads,
                certificate=opening.certificate,
            )
            self._comparing = Comparing(opening, self._ring, precision_of(self._model.model))
            if settings.capture is not None:
                self._capture_to(Path(settings.capture), opening, settings, self._model)
        except MlserveError as error:
            return error_event(error)
        except Exception as error:
            log.exception("%s broke the loader", opening.ref)
            return error_event(InvalidInput(f"it broke the loader: {type(error).__name__}"))
        return {"event": "opened"}

    def answer(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """What to say to "tell" and "document"; in the thread that listens. Never raises."""
        comparing = self._comparing
        if comparing is None:
            return error_event(InvalidInput("nothing was opened"))
        try:
            if question["ask"] == "document":
                return {"event": "document", "document": self._with_labels(comparing.document())}
            return {"event": "told", "told": msgspec.to_builtins(comparing.told())}
        except Exception as error:
            log.exception("asked to %s", question["ask"])
            return error_event(InvalidInput(f"the shadow cannot tell: {type(error).__name__}"))

    def work(self, asked: SimpleQueue[dict[str, Any]], answer: Any) -> None:
        """Take frames until there is a question, which is the last, and answer it."""
        nap_s = LEAST_NAP_S
        while True:
            if self._step():
                nap_s = LEAST_NAP_S
                wait_s = 0.0
            else:
                wait_s, nap_s = nap_s, min(2 * nap_s, LONGEST_NAP_S)
            self._keep()
            with suppress(Empty):
                question = asked.get(timeout=wait_s) if wait_s else asked.get_nowait()
                answer(self._end(question["within_s"]))
                return

    def abandon(self) -> None:
        """The server is gone: leave nothing behind that nobody will look for."""
        if self.opening is not None and self.opening.is_folder_ours:
            shutil.rmtree(self.opening.folder, ignore_errors=True)

    def _step(self) -> bool:
        """Take a frame; whether there was one."""
        assert self._ring is not None
        assert self._model is not None
        assert self._comparing is not None
        before = self._ring.taken
        frame = self._ring.take()
        if frame is None:
            return False
        try:
            mirrored = mirrored_in(frame)
        except Exception as error:  # damage that the ring cannot see
            self._comparing.fail(self._ring.taken - before, f"not read: {type(error).__name__}")
            return True
        rans = self._model.run(mirrored)
        self._comparing.add(rans)
        if self._pairs is not None:
            self._pairs.add(rans)
        return True

    def _keep(self) -> None:
        """Put what was learned, and the pairs, on disk now and then."""
        now_s = time.monotonic()
        assert self._comparing is not None
        if now_s - self._kept_at_s >= KEEP_S:
            self._kept_at_s = now_s
            self._comparing.checkpoint()
        if self._pairs is not None and now_s - self._wrote_at_s >= WRITE_S:
            self._wrote_at_s = now_s
            self._pairs.flush()

    def _end(self, within_s: float) -> dict[str, Any]:
        """Take what is left for as long as ``within_s``, and say the last."""
        assert self._comparing is not None
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s and self._step():
            pass
        if self._pairs is not None:
            self._pairs.close()
        if self._labelling is not None:
            self._labelling.look()
        self._comparing.close()
        return self.answer({"ask": "tell"}) | self.answer({"ask": "document"})

    def _with_labels(self, document: dict[str, Any]) -> dict[str, Any]:
        """``document`` with what only outcomes can tell, where there are any."""
        found = {} if self._labelling is None else self._labelling.figures()
        return document | found | {"metrics": document["metrics"] | found.get("metrics", {})}

    def _capture_to(self, folder: Path, opening: Opening, settings: ServeSettings, model: ShadowModel) -> None:
        # pyarrow takes memory and time that a shadow without a capture need not pay.
        from mlserve.serving.shadow.labelling import Labelling
        from mlserve.serving.shadow.pairing import PairWriter
        from mlserve.traffic.planning import plan_in

        assert self._comparing is not None
        signature = model.model.signature
        self._pairs = PairWriter(plan_in(settings), opening.name, opening.version, opening.digest, signature)
        self._labelling = Labelling(folder, opening, self._comparing.plan)
        self._labelling.start()


if __name__ == "__main__":
    main()
