"""Keeping what foreign code prints away from stdout, which belongs to the command's answer."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def foreign_output() -> Iterator[None]:
    """What the user's own code prints goes to stderr; its warnings are its own business."""
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def converter_output(*loggers: str) -> Iterator[None]:
    """What a converter prints, warns and logs below ERROR (by ``loggers``) is dropped; what it raises is not."""
    previous = {name: logging.getLogger(name).level for name in loggers}
    for name in loggers:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        dropped = io.StringIO()
        with contextlib.redirect_stdout(dropped), contextlib.redirect_stderr(dropped), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in previous.items():
            logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def native_output() -> Iterator[None]:
    """What compiled code writes to the process's own stdout is dropped: no Python object stands in its way."""
    sys.stdout.flush()
    kept = os.dup(1)
    dropped = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(dropped, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(dropped)
