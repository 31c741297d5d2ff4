"""Artefacts: written once, whole, and hashed whenever they are handed out; the same on a folder and behind fsspec."""

from __future__ import annotations

import http.server
import importlib.util
import io
import multiprocessing
import os
import secrets
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest

from mlserve.core.digests import FileEntry, Manifest, digest_bytes, manifest_of
from mlserve.errors import CorruptArtefact, InvalidConfig, InvalidInput, MissingExtra, NotFound, Unavailable
from mlserve.registry.artefacts import ArtefactStore, check_paths
from mlserve.registry.blobs import blob_key, open_blobs


@pytest.fixture(params=["folder", "memory"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "artefacts")
        return
    folder = f"memory://{secrets.token_hex(4)}"
    yield folder
    if fsspec.filesystem("memory").exists(folder):
        fsspec.filesystem("memory").rm(folder, recursive=True)


@pytest.fixture
def kept(root: str, files: dict[str, Path]) -> ArtefactStore:
    """A store that holds ``files``."""
    store = ArtefactStore(root)
    store.put(manifest_of(files.items()), files)
    return store


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A model of two files, one of them in a folder below the graph."""
    paths = {"model.onnx": tmp_path / "source.onnx", "weights/big.bin": tmp_path / "big.bin"}
    paths["model.onnx"].write_bytes(b"graph")
    paths["weights/big.bin"].write_bytes(b"w" * 3_000_000)
    return paths


def spoil(store: ArtefactStore, digest: str, content: bytes | None) -> None:
    """Damage a stored blob, or lose it."""
    files, base = fsspec.core.url_to_fs(store.root)
    if content is None:
        files.rm(f"{base}/{blob_key(digest)}")
    elif "memory" in store.root:
        files.pipe_file(f"{base}/{blob_key(digest)}", content)
    else:
        path = Path(store.root) / blob_key(digest)
        path.chmod(0o600)
        path.write_bytes(content)


def test_files_come_back_under_their_own_names(kept: ArtefactStore, files, tmp_path: Path) -> None:
    main = kept.open_local(manifest_of(files.items()), tmp_path / "cache")

    assert main.name == "model.onnx"
    assert main.read_bytes() == b"graph"
    assert (main.parent / "weights/big.bin").read_bytes() == b"w" * 3_000_000


def test_opening_twice_gives_the_same_path(kept: ArtefactStore, files, tmp_path: Path) -> None:
    manifest = manifest_of(files.items())

    assert kept.open_local(manifest, tmp_path / "cache") == kept.open_local(manifest, tmp_path / "cache")


def test_a_cache_serves_without_the_store(files, tmp_path: Path) -> None:
    store = ArtefactStore(f"memory://{secrets.token_hex(4)}")
    manifest = manifest_of(files.items())
    store.put(manifest, files)
    store.open_local(manifest, tmp_path / "cache")
    for entry in manifest.files:
        spoil(store, entry.digest, None)

    assert store.open_local(manifest, tmp_path / "cache").read_bytes() == b"graph"


def test_without_a_cache_remote_files_go_to_the_home(files) -> None:
    store = ArtefactStore(f"memory://{secrets.token_hex(4)}")
    store.put(manifest_of(files.items()), files)

    assert store.open_local(manifest_of(files.items())).is_relative_to(Path.home() / ".cache" / "mlserve")


def test_a_damaged_cache_is_fetched_anew(files, tmp_path: Path) -> None:
    store = ArtefactStore(f"memory://{secrets.token_hex(4)}")
    manifest = manifest_of(files.items())
    store.put(manifest, files)
    path = store.open_local(manifest, tmp_path / "cache")
    path.write_bytes(b"other")

    assert store.open_local(manifest, tmp_path / "cache").read_bytes() == b"graph"


@pytest.mark.parametrize("content", [b"other", b"longer than before"])
def test_stored_bytes_that_changed_are_never_handed_out(kept, files, tmp_path: Path, content: bytes) -> None:
    manifest = manifest_of(files.items())
    spoil(kept, manifest.files[0].digest, content)

    with pytest.raises(CorruptArtefact) as corrupt:
        kept.open_local(manifest, tmp_path / "cache")

    assert "register the same model again" in str(corrupt.value.hint)
    with pytest.raises(CorruptArtefact):
        kept.read(manifest.files[0].digest, tmp_path / "cache")


def test_putting_the_same_files_again_heals_a_damaged_blob(kept, files, tmp_path: Path) -> None:
    manifest = manifest_of(files.items())
    kept.open_local(manifest, tmp_path / "cache")
    spoil(kept, manifest.files[0].digest, b"damaged")

    kept.put(manifest, files)

    assert kept.open_local(manifest, tmp_path / "cache").read_bytes() == b"graph"


def test_a_lost_blob_is_not_found(kept: ArtefactStore, files, tmp_path: Path) -> None:
    manifest = manifest_of(files.items())
    spoil(kept, manifest.files[0].digest, None)

    with pytest.raises(NotFound, match="no blob sha256:"):
        kept.open_local(manifest, tmp_path / "cache")


def test_a_file_that_changed_after_it_was_hashed_is_not_kept(root: str, files, tmp_path: Path) -> None:
    store, manifest = ArtefactStore(root), manifest_of(files.items())
    files["model.onnx"].write_bytes(b"later")

    with pytest.raises(InvalidInput, match="changed while it was read"):
        store.put(manifest, files)
    with pytest.raises(NotFound):
        store.read(manifest.files[0].digest, tmp_path / "cache")


def test_bytes_are_kept_under_their_digest(root: str, tmp_path: Path) -> None:
    store = ArtefactStore(root)

    entries = [store.put_bytes(b"rows"), store.put_bytes(b"rows")]

    assert entries == [FileEntry("", digest_bytes(b"rows"), 4)] * 2
    assert store.read(entries[0].digest, tmp_path / "cache") == b"rows"


def test_a_stored_blob_is_read_only_and_nothing_else_is_left(tmp_path: Path) -> None:
    store = ArtefactStore(f"file://{tmp_path}/artefacts")

    digest = store.put_bytes(b"rows").digest

    (path,) = (path for path in (tmp_path / "artefacts").rglob("*") if path.is_file())
    assert path == tmp_path / "artefacts" / blob_key(digest)
    assert path.stat().st_mode & 0o777 == 0o444


def test_a_view_on_a_file_system_without_hard_links_is_a_copy(kept, files, tmp_path: Path) -> None:
    manifest = manifest_of(files.items())
    main = kept.open_local(manifest, tmp_path / "cache")
    content = main.read_bytes()
    main.unlink()
    main.write_bytes(content)

    assert kept.open_local(manifest, tmp_path / "cache").read_bytes() == b"graph"


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", ".", "a\\b", "a\0b"])
def test_a_path_that_leaves_the_folder_is_refused(path: str, tmp_path: Path) -> None:
    manifest = Manifest((FileEntry(path, digest_bytes(b""), 0),))

    with pytest.raises(InvalidInput, match="leaves its folder"):
        ArtefactStore(str(tmp_path)).put(manifest, {})
    with pytest.raises(InvalidInput):
        ArtefactStore(str(tmp_path)).open_local(manifest)


def test_a_model_has_each_path_once() -> None:
    entry = FileEntry("model.onnx", digest_bytes(b""), 0)

    for files in ((), (entry, entry)):
        with pytest.raises(InvalidInput, match="one file at least, and each path once"):
            check_paths(Manifest(files))


def test_every_file_must_be_given_and_readable(root: str, tmp_path: Path) -> None:
    manifest = Manifest((FileEntry("model.onnx", digest_bytes(b"x"), 1),))

    for given, error in (
        ({}, InvalidInput),
        ({"model.onnx": tmp_path / "none"}, NotFound),
        ({"model.onnx": tmp_path}, InvalidInput),
    ):
        with pytest.raises(error):
            ArtefactStore(root).put(manifest, given)


def test_a_blob_that_was_put_can_be_fetched_once_it_is_there(root: str, tmp_path: Path) -> None:
    blobs, digest = open_blobs(root), digest_bytes(b"rows")
    with pytest.raises(NotFound):
        blobs.fetch(digest, tmp_path / "early")
    assert not blobs.has(digest, 4)

    blobs.put(io.BytesIO(b"rows"), digest, 4)

    assert blobs.has(digest, 4)
    assert not blobs.has(digest, 5)
    blobs.fetch(digest, tmp_path / "rows")
    assert (tmp_path / "rows").read_bytes() == b"rows"


def test_artefacts_on_a_read_only_disk_are_served_from_the_cache(files) -> None:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        here.chmod(0o777)
        store, manifest = ArtefactStore(str(here / "artefacts")), manifest_of(files.items())
        store.put(manifest, files)
        (here / "artefacts").chmod(0o555)

        with nobody():
            opened = store.open_local(manifest, here / "cache")

        assert opened.is_relative_to(here / "cache")
        assert opened.read_bytes() == files["model.onnx"].read_bytes()


@contextmanager
def nobody() -> Iterator[None]:
    """The body as an ordinary user, for root may write anywhere; nothing changes for one who is that already."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_a_probe_leaves_nothing_behind(root: str) -> None:
    store = ArtefactStore(root)

    store.probe()

    files, base = fsspec.core.url_to_fs(root)
    assert files.find(base) == []


def test_a_root_that_cannot_be_written_is_unavailable(tmp_path: Path, files) -> None:
    (tmp_path / "taken").write_bytes(b"")
    store = ArtefactStore(str(tmp_path / "taken"))

    with pytest.raises(Unavailable, match="cannot write"):
        store.probe()
    with pytest.raises(Unavailable, match="cannot write"):
        store.put_bytes(b"x")


def test_a_cache_that_cannot_be_written_is_unavailable(tmp_path: Path, files) -> None:
    (tmp_path / "taken").write_bytes(b"")
    store = ArtefactStore(f"memory://{secrets.token_hex(4)}")
    store.put(manifest_of(files.items()), files)

    with pytest.raises(Unavailable, match="cache"):
        store.open_local(manifest_of(files.items()), tmp_path / "taken")


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="cannot be kept at 'gopher://x'"):
        ArtefactStore("gopher://x")


@pytest.mark.skipif(importlib.util.find_spec("s3fs") is not None, reason="s3fs is installed")
def test_s3_without_its_extra_says_what_to_install() -> None:
    with pytest.raises(MissingExtra) as missing:
        ArtefactStore("s3://bucket/prefix")

    assert missing.value.hint == "pip install 'mlserve[s3]'"


def test_an_unreachable_store_is_unavailable(tmp_path: Path) -> None:
    # Nothing listens on the discard port of this machine.
    store = ArtefactStore("http://127.0.0.1:9/bucket")

    with pytest.raises(Unavailable, match="out of reach"):
        store.read(digest_bytes(b""), tmp_path)


def test_a_blob_that_a_reachable_store_lacks_is_not_found(tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        store = ArtefactStore(f"http://127.0.0.1:{server.server_address[1]}/bucket")

        with pytest.raises(NotFound, match="no blob"):
            store.read(digest_bytes(b""), tmp_path)
        server.shutdown()


class _Empty(http.server.BaseHTTPRequestHandler):
    """A store that has nothing."""

    def do_GET(self) -> None:
        self.send_error(404)

    def do_HEAD(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


def test_processes_that_write_the_same_blob_do_not_disturb_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(4, mp_context=context) as pool:
        digests = set(pool.map(put_and_read, [str(tmp_path / "artefacts")] * 8))

    assert digests == {digest_bytes(b"shared" * 100_000)}
    assert len([path for path in (tmp_path / "artefacts" / "blobs").rglob("*") if path.is_file()]) == 1


def put_and_read(root: str) -> str:
    store = ArtefactStore(root)
    entry = store.put_bytes(b"shared" * 100_000)
    main = store.open_local(Manifest((FileEntry("model.onnx", entry.digest, entry.size_bytes),)))
    return digest_bytes(main.read_bytes())
