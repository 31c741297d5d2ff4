"""Writing whole or not at all: beside the target, then renamed over it; one file, or several that belong together."""

from __future__ import annotations

import os
import secrets
import shutil
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
    if not target.name or target.is_dir():
        raise InvalidInput(f"cannot write '{target}': it is a folder")
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


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """``target``'s own name in a hidden folder beside it, to make files in; ``release`` keeps them, else they are gone.

    Raises InvalidInput when the folder around ``target`` is missing or cannot be written.
    """
    if not target.name or target.is_dir():
        raise InvalidInput(f"cannot write '{target}': it is a folder")
    folder = target.parent / f".{target.name}.{secrets.token_hex(4)}.partial"
    try:
        folder.mkdir()
    except OSError as error:
        raise InvalidInput(f"cannot write '{target}': {error.strerror or error}") from error
    try:
        yield folder / target.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def release(staged: Path, target: Path) -> None:
    """Rename every file of ``staged``'s folder to beside ``target``: weights, then ``target``, then what describes it.

    An older ``TARGET.data`` and ``TARGET.evidence.json`` are removed first: they belong to bytes that are going.
    Raises InvalidInput when a rename fails.
    """
    fresh = sorted(staged.parent.iterdir(), key=lambda path: (path.name.endswith(".json"), path == staged, path.name))
    try:
        for companion in (target.with_name(f"{target.name}.data"), target.with_name(f"{target.name}.evidence.json")):
            companion.unlink(missing_ok=True)
        for path in fresh:
            path.replace(target.with_name(path.name))
    except OSError as error:
        raise InvalidInput(f"cannot write '{target}': {error.strerror or error}") from error
