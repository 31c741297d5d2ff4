"""A registry with two versions, and server processes that follow it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import onnx
import pytest

from mlserve.core.refs import Stage
from mlserve.registry.artefacts import ArtefactStore
from mlserve.registry.following import lagging
from mlserve.registry.migrating import upgrade
from mlserve.registry.store import Store, open_store
from tests import models
from tests.processes import MLSERVE
from tests.registry.making import add_version, move

PATIENCE_S = 60.0
QUICK = {
    "MLSERVE_SERVE__POLL_S": "0.02",
    "MLSERVE_SERVE__WARMUP_S": "0.05",
    "MLSERVE_SERVE__DRAIN_S": "20",
    "MLSERVE_SERVE__GRPC_PORT": "off",
}


class Server:
    """A running ``mlserve serve``. Its events are read as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def url(self) -> str:
        return str(self.until("ready")["http"])

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 0)

    def until(self, kind: str, *, after: int = 0, **wanted: Any) -> dict[str, Any]:
        """The first event of that kind, from the one numbered ``after`` on, when it has come."""
        wanted["event"] = kind

        def found() -> dict[str, Any] | None:
            return next((event for event in self.events[after:] if wanted.items() <= event.items()), None)

        with self._changed:
            assert self._changed.wait_for(lambda: found() is not None, PATIENCE_S), (kind, self.events)
        return found() or {}

    def index(self) -> list[dict[str, Any]]:
        """The repository's index, as any client sees it."""
        with urlopen(Request(f"{self.url}/v2/repository/index", b"", method="POST"), timeout=30) as response:
            lines: list[dict[str, Any]] = json.load(response)
        return lines

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_S)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()


@contextmanager
def serving(*words: str, env: Mapping[str, str] | None = None) -> Iterator[Server]:
    """``mlserve serve WORDS`` on a free port, killed at the end if it still runs."""
    command = [*MLSERVE, "serve", *words, "--port", "0", "--json"]
    environment = {**os.environ, **QUICK, **(env or {})}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        server = Server(process)
        try:
            assert server.url
            yield server
        finally:
            process.kill()


@dataclass
class Registry:
    """``fraud:1``, which is in production, and ``fraud:2``; both are in ``versions`` too, by their number."""

    url: str
    store: Store
    artefacts: Path
    versions: dict[str, onnx.ModelProto] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        return {"MLSERVE_REGISTRY": self.url, "MLSERVE_ARTIFACTS": str(self.artefacts)}

    def serving(self, *words: str, **options: Any) -> AbstractContextManager[Server]:
        """A server of ``fraud``."""
        env = {**self.env, **options.pop("env", {})}
        return serving("fraud", *words, env=env, **options)

    def add(self, model: onnx.ModelProto, **options: Any) -> str:
        """Register another version; its number."""
        content, artefacts = model.SerializeToString(), ArtefactStore(str(self.artefacts))
        number = str(add_version(self.store, artefacts, "fraud", content, **options).version.version)
        self.versions[number] = model
        return number

    def promote(self, version: str, stage: Stage = Stage.PRODUCTION, **options: Any) -> int:
        """Put ``version`` into ``stage``; the stage's generation."""
        return move(self.store, f"fraud:{version}", stage, **options).generation

    def until_swapped(self, generation: int, stage: Stage = Stage.PRODUCTION) -> None:
        """Until no live server lags behind, as ``promote --wait`` waits."""
        end_s = time.monotonic() + PATIENCE_S
        while lagging(self.store, "fraud", stage, generation, datetime.now(UTC)):
            assert time.monotonic() < end_s, "a server did not swap"
            time.sleep(0.01)

    def blob_of(self, version: str) -> Path:
        """The file that holds the version's bytes."""
        content = self.versions[version].SerializeToString()
        (found,) = [
            path
            for path in (self.artefacts / "blobs").rglob("*")
            if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content
        ]
        return found


def made(url: str, folder: Path) -> Registry:
    upgrade(url)
    registry = Registry(url, open_store(url), folder / "artefacts")
    for seed in (1, 2):
        registry.add(models.classifier(seed=seed))
    registry.promote("1")
    return registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    found = made(f"sqlite:///{tmp_path / 'registry.db'}", tmp_path)
    yield found
    found.store.close()
