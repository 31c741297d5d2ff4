"""Where blobs lie: a folder or any fsspec file system, addressed by sha256, each written once and whole.

<root>/blobs/sha256/ab/<the other 62 digits>
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from mlserve.core.digests import PREFIX, digest_file
from mlserve.core.files import sync
from mlserve.core.plugins import missing_extra
from mlserve.errors import CorruptArtefact, InvalidConfig, InvalidInput, MlserveError, NotFound, Unavailable

PIECE_BYTES = 1 << 20
_EXTRAS = {"s3fs": "s3"}


class Blobs(Protocol):
    """A store of blobs. ``put`` and ``fetch`` hash what they move, so nothing wrong is kept or handed out."""

    def put(self, source: BinaryIO, digest: str, size_bytes: int) -> None:
        """Store what ``source`` reads under ``digest``. Raises InvalidInput for other bytes, Unavailable."""

    def fetch(self, digest: str, target: Path) -> None:
        """Write the blob to the new file ``target``. Raises NotFound, CorruptArtefact, Unavailable."""

    def has(self, digest: str, size_bytes: int) -> bool:
        """Whether the blob is stored, whole. Raises Unavailable."""

    def probe(self) -> None:
        """Nothing when blobs can be written and read. Raises Unavailable."""


def open_blobs(root: str) -> Blobs:
    """The store at ``root``: a path, ``file://`` or fsspec URL. Raises InvalidConfig, MissingExtra, Unavailable."""
    if "://" in root and not root.startswith("file://"):
        return RemoteBlobs(root)
    return LocalBlobs(Path(root.removeprefix("file://")))


def blob_key(digest: str) -> str:
    """Where a blob lies below the root.

    >>> blob_key("sha256:" + "ab" + "0" * 62)[:20]
    'blobs/sha256/ab/0000'
    """
    hexdigits = digest.removeprefix(PREFIX)
    return f"blobs/sha256/{hexdigits[:2]}/{hexdigits[2:]}"


class LocalBlobs:
    """Blobs in a folder: written beside their place, flushed to disk, made read-only, renamed, the folder flushed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """The blob's file, there or not."""
        return self.root / blob_key(digest)

    def put(self, source: BinaryIO, digest: str, size_bytes: int) -> None:
        with self._writing(digest) as partial:
            _copy(source, partial, digest)

    def fetch(self, digest: str, target: Path) -> None:
        try:
            with self.path(digest).open("rb") as source:
                _copy_stored(source, target, digest)
        except FileNotFoundError as error:
            raise NotFound(f"no blob {digest} in '{self.root}'") from error

    def has(self, digest: str, size_bytes: int) -> bool:
        # Hashed, not only measured: registering the same bytes again heals a damaged blob.
        try:
            path = self.path(digest)
            return path.stat().st_size == size_bytes and digest_file(path) == digest
        except (OSError, NotFound):
            return False

    def verify(self, digest: str) -> Path:
        """The blob's file, hashed anew. Raises NotFound, CorruptArtefact."""
        path = self.path(digest)
        try:
            found = digest_file(path)
        except NotFound as error:
            raise NotFound(f"no blob {digest} in '{self.root}'") from error
        if found != digest:
            raise CorruptArtefact(f"'{path}' has the content of {found}", hint=_HEAL)
        return path

    def probe(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            token = self.root / f".probe.{secrets.token_hex(4)}"
            token.touch()
            token.unlink()
        except OSError as error:
            raise Unavailable(f"cannot write to '{self.root}': {error.strerror}") from error

    @contextmanager
    def _writing(self, digest: str) -> Iterator[Path]:
        target = self.path(digest)
        partial = target.with_name(f".{secrets.token_hex(8)}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            partial.chmod(0o444)
            partial.replace(target)
            sync(target.parent)
        except OSError as error:
            raise Unavailable(f"cannot write to '{self.root}': {error.strerror or error}") from error
        finally:
            with suppress(OSError):
                partial.unlink()


class RemoteBlobs:
    """Blobs behind fsspec. An object store shows an object only when it is whole, so the upload is its own rename.

    On other file systems a broken upload is found by its size at the next ``put`` or by its hash at ``fetch``.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        try:
            with _remote_errors(url):
                self._files, self._base = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise _missing_driver(error, url) from error
        except ValueError as error:
            raise InvalidConfig(f"artefacts cannot be kept at '{url}': {error}") from error

    def put(self, source: BinaryIO, digest: str, size_bytes: int) -> None:
        read = hashlib.sha256()
        with _remote_errors(self.url):
            self._files.makedirs(self._key(digest).rpartition("/")[0], exist_ok=True)
            with self._files.open(self._key(digest), "wb") as target:
                for piece in _pieces(source):
                    read.update(piece)
                    target.write(piece)
            if PREFIX + read.hexdigest() != digest:
                self._files.rm(self._key(digest))
        if PREFIX + read.hexdigest() != digest:
            raise InvalidInput(f"the file changed while it was read: it is no longer {digest}")

    def fetch(self, digest: str, target: Path) -> None:
        try:
            with _remote_errors(self.url):
                source = self._files.open(self._key(digest), "rb")
        except FileNotFoundError as error:
            raise NotFound(f"no blob {digest} in '{self.url}'") from error
        with source:
            _copy_stored(_Remote(source, self.url), target, digest)

    def has(self, digest: str, size_bytes: int) -> bool:
        try:
            with _remote_errors(self.url):
                return int(self._files.info(self._key(digest))["size"]) == size_bytes
        except FileNotFoundError:
            return False

    def probe(self) -> None:
        key = f"{self._base}/.probe.{secrets.token_hex(4)}"
        with _remote_errors(self.url):
            self._files.makedirs(self._base, exist_ok=True)
            self._files.pipe_file(key, b"mlserve")
            self._files.rm(key)

    def _key(self, digest: str) -> str:
        return f"{self._base}/{blob_key(digest)}"


class _Remote:
    """Reads ``source``, so that what goes wrong with it is told apart from what goes wrong where it is written to."""

    def __init__(self, source: BinaryIO, url: str) -> None:
        self._source = source
        self._url = url

    def read(self, size_bytes: int) -> bytes:
        try:
            with _remote_errors(self._url):
                return self._source.read(size_bytes)
        except FileNotFoundError as error:
            raise _out_of_reach(self._url, error) from error


_HEAL = "register the same model again to restore it"


@contextmanager
def _remote_errors(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        # fsspec's HTTP files say this of a server that is not there, too, with the connection's error as the cause.
        if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, FileNotFoundError):
            raise _out_of_reach(url, error.__cause__) from error
        raise
    except (MlserveError, ImportError, ValueError):
        raise
    except Exception as error:  # the drivers behind fsspec (botocore, aiohttp, paramiko) share no narrower base
        raise _out_of_reach(url, error) from error


def _out_of_reach(url: str, error: Exception) -> Unavailable:
    return Unavailable(f"the artefacts at '{url}' are out of reach: {error}", hint="mlserve doctor")


def _missing_driver(error: ImportError, url: str) -> MlserveError:
    module = next((name for name in _EXTRAS if name in str(error)), None)
    if module is not None:
        return missing_extra(module, _EXTRAS[module])
    return InvalidConfig(f"artefacts cannot be kept at '{url}': {error}")


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    while piece := source.read(PIECE_BYTES):
        yield piece


def _copy(source: BinaryIO, target: Path, digest: str) -> None:
    """Copy to the new file ``target`` and flush it. Raises InvalidInput when the bytes are not ``digest``."""
    read = hashlib.sha256()
    with target.open("xb") as file:
        for piece in _pieces(source):
            read.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    if PREFIX + read.hexdigest() != digest:
        raise InvalidInput(f"the file changed while it was read: it is no longer {digest}")


def _copy_stored(source: Any, target: Path, digest: str) -> None:
    try:
        _copy(source, target, digest)
    except InvalidInput as error:
        raise CorruptArtefact(f"the stored blob {digest} has other content", hint=_HEAL) from error
