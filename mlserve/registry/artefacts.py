"""A model's files, kept by content: put in once, handed out as local files that were just hashed.

A version's view is a folder with its files under their own names (ONNX finds external data by name), hard-linked to
the blobs where the file system can, so it costs no space:

    <root or cache>/views/sha256/ab/<the other 62 digits of the manifest's digest>/model.onnx
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from mlserve.core.digests import FileEntry, Manifest, digest_bytes
from mlserve.errors import InvalidInput, NotFound, Unavailable
from mlserve.registry.blobs import Blobs, LocalBlobs, blob_key, open_blobs


class ArtefactStore:
    """The artefacts at a path or fsspec URL. Safe to share between threads and processes.

    Raises InvalidConfig for a URL that cannot be used, MissingExtra without its driver.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._blobs: Blobs = open_blobs(root)

    def put(self, manifest: Manifest, files: Mapping[str, Path]) -> None:
        """Store the file of each of the manifest's entries; ``files`` maps their paths in the model to those on disk.

        What is stored already is not written again; a damaged blob is. Raises InvalidInput when a file is no longer
        what the manifest says or a path leaves the model's folder, NotFound, Unavailable.
        """
        check_paths(manifest)
        for entry in manifest.files:
            source = files.get(entry.path)
            if source is None:
                raise InvalidInput(f"the model's file '{entry.path}' was not given")
            if not self._blobs.has(entry.digest, entry.size_bytes):
                with _opened(source) as file:
                    self._blobs.put(file, entry.digest, entry.size_bytes)

    def put_bytes(self, content: bytes) -> FileEntry:
        """Store ``content``; the entry (with an empty path) says its digest and size. Raises Unavailable."""
        digest = digest_bytes(content)
        if not self._blobs.has(digest, len(content)):
            self._blobs.put(io.BytesIO(content), digest, len(content))
        return FileEntry("", digest, len(content))

    def open_local(self, manifest: Manifest, cache: Path | None = None) -> Path:
        """The model's main file on this machine, with the files it needs beside it, all hashed in this call.

        Local artefacts are served from their own folder, remote ones and those on a read-only disk from ``cache``
        (default: ``~/.cache/mlserve``), where a second call needs no network. Raises CorruptArtefact, NotFound,
        Unavailable.
        """
        check_paths(manifest)
        local = self._local(cache)
        for entry in manifest.files:
            self._bring(entry, local)
        return _view(manifest, local) / manifest.files[0].path

    def read(self, digest: str, cache: Path | None = None) -> bytes:
        """The content of one blob, hashed. Raises CorruptArtefact, NotFound, Unavailable."""
        local = self._local(cache)
        self._bring(FileEntry("", digest, -1), local)
        return local.path(digest).read_bytes()

    def probe(self) -> None:
        """Nothing when artefacts can be written and read. Raises Unavailable."""
        self._blobs.probe()

    def _local(self, cache: Path | None) -> LocalBlobs:
        if isinstance(self._blobs, LocalBlobs) and os.access(self._blobs.root, os.W_OK):
            return self._blobs
        return LocalBlobs(cache or Path.home() / ".cache" / "mlserve")

    def _bring(self, entry: FileEntry, local: LocalBlobs) -> None:
        """Have ``entry`` in ``local``, whole: what a cache holds damaged is fetched anew."""
        if local is self._blobs:
            local.verify(entry.digest)
            return
        path = local.path(entry.digest)
        if path.is_file() and local.has(entry.digest, path.stat().st_size):
            return
        partial = path.with_name(f".{secrets.token_hex(8)}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._blobs.fetch(entry.digest, partial)
            partial.replace(path)
        except OSError as error:
            raise Unavailable(f"cannot write to the cache '{local.root}': {error.strerror or error}") from error
        finally:
            with suppress(OSError):
                partial.unlink()


def check_paths(manifest: Manifest) -> None:
    """Nothing when each path stays in the model's folder and is there once. Raises InvalidInput.

    >>> check_paths(Manifest((FileEntry("../x", "", 0),)))
    Traceback (most recent call last):
    mlserve.errors.InvalidInput: the model's file '../x' leaves its folder
    """
    paths = [entry.path for entry in manifest.files]
    for path in paths:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
            raise InvalidInput(f"the model's file '{path}' leaves its folder")
    if not paths or len(set(paths)) != len(paths):
        raise InvalidInput("a model needs one file at least, and each path once")


def _opened(source: Path) -> io.BufferedReader:
    try:
        return source.open("rb")
    except FileNotFoundError as error:
        raise NotFound(f"no file '{source}'") from error
    except OSError as error:
        raise InvalidInput(f"cannot read '{source}': {error.strerror}") from error


def _view(manifest: Manifest, local: LocalBlobs) -> Path:
    view = local.root / blob_key(manifest.digest).replace("blobs/", "views/", 1)
    if _is_whole(view, manifest, local):
        return view
    building = view.with_name(f".{secrets.token_hex(8)}.building")
    try:
        for entry in manifest.files:
            _link(local.path(entry.digest), building / entry.path)
        _swap(building, view)
    except OSError as error:
        raise Unavailable(f"cannot lay out the model in '{view}': {error.strerror or error}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return view


def _is_whole(view: Path, manifest: Manifest, local: LocalBlobs) -> bool:
    """Whether every file of the view is the blob itself; copies (no hard links here) are laid out anew each time."""
    try:
        return all((view / entry.path).samefile(local.path(entry.digest)) for entry in manifest.files)
    except OSError:
        return False


def _link(blob: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(blob, target)
    except OSError:
        shutil.copyfile(blob, target)


def _swap(building: Path, view: Path) -> None:
    try:
        building.rename(view)
    except OSError:
        if not view.is_dir():
            raise
        # Another process was first, or the view is damaged: replace file by file, each atomically.
        for file in sorted(path for path in building.rglob("*") if path.is_file()):
            target = view / file.relative_to(building)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)
