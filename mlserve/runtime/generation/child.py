"""``python -m mlserve.runtime.generation.child``: a process that holds one language model and answers on its pipes.

Its stdin is its lifeline: when that closes, however the server ended, it ends at once, in the middle of a run or of a
load. Signals that end a terminal's whole group are the server's to act on, which lets it finish what it has.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, BinaryIO

from mlserve.checkpoint.generation import Wish
from mlserve.core.telling import error_event
from mlserve.errors import InvalidInput, MlserveError
from mlserve.runtime.generation import messages

if TYPE_CHECKING:
    from mlserve.runtime.generation.generating import Generator

WARM_TOKENS = 8


def main() -> None:
    """Answer until the lifeline is cut."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever libraries print must not come between answers
    asked: SimpleQueue[dict[str, Any]] = SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, asked), daemon=True).start()
    child = Child()
    while True:
        frame = messages.pack(child.answer(asked.get()))
        while frame:
            frame = frame[answers.write(frame) :]


def _listen(source: BinaryIO, asked: SimpleQueue[dict[str, Any]]) -> None:
    while (message := messages.read(source)) is not None:
        asked.put(message)
    os._exit(0)


class Child:
    """Answers messages; the model is there from "open" on."""

    def __init__(self) -> None:
        self._generator: Generator | None = None

    def answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """What to say to ``message``. Never raises."""
        try:
            return self._open(message) if message["ask"] == "open" else self._generate(message)
        except MlserveError as error:
            return error_event(error)
        except Exception as error:  # a bug must not cost the model, which takes long to load
            return error_event(InvalidInput(f"the model refused the texts: {type(error).__name__}"))

    def _open(self, message: Mapping[str, Any]) -> dict[str, Any]:
        import torch

        from mlserve.runtime.generation.generating import Generator
        from mlserve.runtime.generation.opening import open_checkpoint, silence
        from mlserve.runtime.generation.probing import PROMPTS, certify

        silence()
        torch.set_num_threads(message["threads"])
        device = message["device"]
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._generator = Generator(open_checkpoint(Path(message["folder"]), device=device, label=message["label"]))
        certificate = certify(self._generator)
        started_s = time.monotonic()
        self._generator.generate([PROMPTS[-1][:32]], [Wish(WARM_TOKENS)])
        return {
            "event": "opened",
            "certificate": certificate.to_dict(),
            "run_s": time.monotonic() - started_s,
        }

    def _generate(self, message: Mapping[str, Any]) -> dict[str, Any]:
        assert self._generator is not None, "nothing is asked before it is opened"
        wishes = [Wish(**fields) for fields in message["wishes"]]
        made = self._generator.generate(message["prompts"], wishes, limit_s=message["limit_s"])
        return {
            "event": "generated",
            "texts": [(one.text, one.reason, one.input_tokens, one.output_tokens) for one in made],
        }


if __name__ == "__main__":
    main()
