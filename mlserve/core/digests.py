"""Content addresses: sha256 of bytes, files and canonical JSON, and the manifest of a model made of several files.

A model of one file has that file's own sha256, which anyone can check with ``sha256sum``; a model with external data
has the sha256 of its manifest, so that both are moved, verified and named as one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlserve.errors import InvalidInput, NotFound

PREFIX = "sha256:"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest_bytes(content: bytes) -> str:
    """The address of ``content``.

    >>> digest_bytes(b"")[:20]
    'sha256:e3b0c44298fc1'
    """
    return PREFIX + hashlib.sha256(content).hexdigest()


def digest_file(path: Path) -> str:
    """The address of a file's content, read in pieces. Raises NotFound, InvalidInput."""
    try:
        with path.open("rb") as file:
            return PREFIX + hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise NotFound(f"no file '{path}'") from error
    except OSError as error:
        raise InvalidInput(f"cannot read '{path}': {error.strerror}") from error


def digest_of_data(uri: str | None) -> str | None:
    """The address of data that is a local file; what lies elsewhere is named, not fetched."""
    if uri is None:
        return None
    path = Path(uri.removeprefix("file://"))
    return digest_file(path) if path.is_file() else None


def canonical_json(value: Any) -> bytes:
    """``value`` as the one JSON text that equal values share: sorted keys, no spaces, UTF-8.

    >>> canonical_json({"b": 1, "a": "é"})
    b'{"a":"\\xc3\\xa9","b":1}'
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def is_digest(text: str) -> bool:
    """Whether ``text`` has the form ``sha256:`` and 64 hex digits."""
    return _DIGEST.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a model: its path within the model (POSIX, relative), address and size."""

    path: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files that make up one model, first what it is opened by: ``model.onnx``, a checkpoint's ``config.json``."""

    files: tuple[FileEntry, ...]

    @property
    def digest(self) -> str:
        """The model's address: the file's own for a single file, else that of the sorted paths and addresses."""
        if len(self.files) == 1:
            return self.files[0].digest
        listing = sorted([entry.path, entry.digest] for entry in self.files)
        return digest_bytes(canonical_json(listing))

    @property
    def size_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.files)


def manifest_of(files: Iterable[tuple[str, Path]]) -> Manifest:
    """The manifest of ``(path within the model, path on disk)`` pairs, each file hashed.

    Raises NotFound, InvalidInput.
    """
    return Manifest(tuple(FileEntry(name, digest_file(path), path.stat().st_size) for name, path in files))
