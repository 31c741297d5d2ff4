"""A folder written whole or not at all: made beside the target, then renamed to it, its evidence beside it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mlserve.core.files import os_errors, sync
from mlserve.errors import InvalidInput, UsageError

_OLD = ".replaced"


@contextmanager
def staging_folder(target: Path, *, inputs: Iterable[Path] = ()) -> Iterator[Path]:
    """``target``'s own name, not there yet, in a hidden folder beside it; ``release_folder`` keeps it, else it is gone.

    Raises UsageError when one of ``inputs`` is ``target``, InvalidInput when it is a file or cannot be written.
    """
    if target.name in ("", "..") or target.is_symlink() or (target.exists() and not target.is_dir()):
        raise InvalidInput(f"cannot write '{target}': it is no folder of that name")
    if target.exists() and any(target.samefile(path) for path in inputs if path.exists()):
        raise UsageError(f"'{target}' is read and would be overwritten", hint="-o with another name")
    hidden = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    with os_errors(target):
        hidden.mkdir()
    try:
        with os_errors(target):
            yield hidden / target.name
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def release_folder(staged: Path, target: Path) -> None:
    """Rename ``staged`` to ``target``, whose older content goes, and what lies beside it to beside ``target``.

    Files are on disk (fsync) before that. A crash leaves the old folder, none, or the new one whole: never one of both.
    """
    for path in sorted(staged.rglob("*")):
        if path.is_file():
            sync(path)
    beside = [path for path in staged.parent.iterdir() if path != staged]
    for path in beside:
        # What speaks of the old folder must not stand beside the new one.
        target.with_name(path.name).unlink(missing_ok=True)
    if target.exists():
        target.rename(staged.parent / _OLD)
    staged.rename(target)
    for path in beside:
        path.replace(target.with_name(path.name))
