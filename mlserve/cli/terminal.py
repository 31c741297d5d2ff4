"""The streams: whether a person watches one (then colours, bars and tables; otherwise plain text), and lost ones."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import TextIO

STYLES = {"error": "\x1b[1;31m", "warning": "\x1b[33m", "hint": "\x1b[36m", "good": "\x1b[32m", "bad": "\x1b[31m"}
RESET = "\x1b[0m"


def is_styled(stream: TextIO, env: Mapping[str, str]) -> bool:
    """True for a terminal that can show colours, unless ``NO_COLOR`` or ``CI`` is set (https://no-color.org)."""
    if env.get("NO_COLOR") or env.get("CI") or env.get("TERM") == "dumb":
        return False
    return stream.isatty()


def is_ascii_only(stream: TextIO) -> bool:
    """Whether a stream cannot take every character, so that JSON must escape those beyond ASCII."""
    return (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").replace("_", "") != "utf8"


def styled(text: str, style: str, *, on: bool) -> str:
    """``text`` in one of our few styles, or as it is.

    >>> styled("yes", "good", on=False)
    'yes'
    """
    return f"{STYLES[style]}{text}{RESET}" if on else text


def say(text: str, stream: TextIO) -> None:
    """One line beside the answer; where nobody takes it, it is lost, for the answer and the exit code matter more."""
    with contextlib.suppress(OSError):
        print(text, file=stream, flush=True)


def stand_in_for_closed_streams() -> None:
    """Let stdin, stdout and stderr exist: a caller may have closed them (``mlserve list >&-``).

    The lowest free descriptor is theirs, so that no file opened later, such as the registry, gets what libraries print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (open as long as the process)
