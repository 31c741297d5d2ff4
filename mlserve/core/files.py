"""Writing whole or not at all: beside the target, then renamed over it; one file, or several that belong together."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mlserve.errors import InvalidConfig, InvalidInput, UsageError


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path to write to in ``target``'s folder; renamed over ``target`` on success, removed on any failure.

    The content is on disk (fsync) before the rename, so a crash leaves the old file or the new one. Raises InvalidInput
    when the folder is missing, cannot be written, or the disk is full, or the target is no file (``/dev/null``).
    """
    with os_errors(target):
        _require_file(target)
        partial = _partial(target)
        try:
            yield partial
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def staging(target: Path, *, inputs: Iterable[Path] = ()) -> Iterator[Path]:
    """``target``'s own name in a hidden folder beside it, to make files in; ``release`` keeps them, else they are gone.

    Raises UsageError when one of ``inputs`` would be overwritten, InvalidInput as ``replacing`` does.
    """
    folder = _partial(target)
    with os_errors(target):
        for path in _family(target):
            _require_file(path)
            if path.exists() and any(path.samefile(read) for read in inputs if read.exists()):
                raise UsageError(f"'{path}' is read and would be overwritten", hint="-o with another name")
        folder.mkdir()
    try:
        yield folder / target.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def release(staged: Path, target: Path) -> None:
    """Rename every file of ``staged``'s folder to beside ``target``; an older ``target`` goes with all that is its.

    A crash at any moment leaves the old graph with the old weights, the new with the new, or no graph: never a graph
    with weights or evidence of another. Raises InvalidInput when a rename fails.
    """
    _, data, evidence = _family(target)
    fresh = {path.name: path for path in staged.parent.iterdir()}
    weights = [path for name, path in fresh.items() if name not in (target.name, evidence.name)]
    with os_errors(target):
        evidence.unlink(missing_ok=True)
        if weights:
            # Two renames are not one: without this a crash between them would leave the old graph with new weights.
            target.unlink(missing_ok=True)
        for path in weights:
            path.replace(target.with_name(path.name))
        staged.replace(target)
        if data.name not in fresh:
            data.unlink(missing_ok=True)
        if evidence.name in fresh:
            fresh[evidence.name].replace(evidence)


def sync(path: Path) -> None:
    """Have the disk hold what was written to a file, or a folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private(folder: Path, what: str) -> None:
    """Make ``folder``, for its owner alone, if it is not there. Raises InvalidConfig where it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise InvalidConfig(f"{what} '{folder}' cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidConfig(f"{what} '{folder}' cannot be written to")


def check_writable(target: Path) -> None:
    """Refuse, before the work, a file that could not be written after it. Raises InvalidInput."""
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise InvalidInput(f"cannot write '{target}': {'it is a folder' if target.is_dir() else 'no such folder'}")


def _family(target: Path) -> tuple[Path, Path, Path]:
    """A model's graph, weights and evidence, by the names that they have beside each other."""
    return target, target.with_name(f"{target.name}.data"), target.with_name(f"{target.name}.evidence.json")


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")


def _require_file(target: Path) -> None:
    if not target.name or target.is_dir():
        raise InvalidInput(f"cannot write '{target}': it is a folder")
    if target.exists() and not target.is_file():
        raise InvalidInput(f"cannot write '{target}': it is not a file")


@contextmanager
def os_errors(target: Path) -> Iterator[None]:
    """What the operating system refuses while ``target`` is written, as InvalidInput that names it."""
    try:
        yield
    except OSError as error:
        # Not ``strerror``: pyarrow writes a sentence with the hidden file's name there.
        reason = os.strerror(error.errno).lower() if error.errno else error
        raise InvalidInput(f"cannot write '{_asked_for(target)}': {reason}") from error


def _asked_for(target: Path) -> Path:
    """``target`` as the user knows it: what is staged will lie one folder up."""
    is_staged = target.parent.name.startswith(".") and target.parent.name.endswith(".partial")
    return target.parent.parent / target.name if is_staged else target
