"""Writing a file whole or not at all: beside the target, then renamed over it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlserve.errors import InvalidInput


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path to write to in ``target``'s folder; renamed over ``target`` on success, removed on any failure.

    The content is on disk (fsync) before the rename, so a crash leaves the old file or the new one. Raises InvalidInput
    when the folder is missing, cannot be written, or the disk is full.
    """
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        raise InvalidInput(f"cannot write '{target}': {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
