"""The terms of alibi-detect, told once: before its first use by this person on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

NOTICE = (
    "alibi-detect is under the Business Source License 1.1: production use needs a licence from Seldon "
    "(seldon.io/pricing). Without it: pip uninstall alibi-detect; drift then tests with scipy. Said once."
)


def tell_once(memory: Path | None = None, say: Callable[[str], None] | None = None) -> bool:
    """Say the notice (on stderr) unless the file ``memory`` shows that it was said; whether it was said now.

    Where the file cannot be written the notice comes again next time: better twice than never.
    """
    try:
        path = memory or _memory()
        if path.is_file():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        # Exclusive: of two processes that begin together one tells.
        with path.open("x", encoding="utf-8") as file:
            file.write(f"{NOTICE}\n")
    except (OSError, RuntimeError) as error:  # the latter where there is no home
        if isinstance(error, FileExistsError) and path.is_file():
            return False
    (say or _on_stderr)(NOTICE)
    return True


def _on_stderr(text: str) -> None:
    print(text, file=sys.stderr)


def _memory() -> Path:
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "mlserve" / "alibi-detect-licence"
