"""Counted requests of many clients, none of them ever sent twice, while something goes wrong with the server."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

ROW = [0.5, -1.0, 2.0, 0.25]
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW}]})
RTOL = 1e-4
"""Between ONNX's own arithmetic and a runtime's, whose sums are done in another order."""


@dataclass
class Counted:
    """What came of every request that was sent: right answers by version, and failures in words."""

    right: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.right.values())


class Traffic:
    """``clients`` that each ask ``model`` again as soon as they are answered, until the block ends.

    Where not ``is_kept_alive``, each request comes on a connection of its own. An answer is right if it is what
    ``versions[the version that it names]`` gives, by ONNX's reference implementation.
    """

    def __init__(
        self,
        url: str,
        model: str,
        versions: Mapping[str, onnx.ModelProto],
        clients: int = 6,
        *,
        is_kept_alive: bool = True,
    ) -> None:
        self._is_kept_alive = is_kept_alive
        self.counted = Counted()
        self._address = urlsplit(url)
        self._path = f"/v2/models/{model}/infer"
        self._expected = {name: expected(version) for name, version in versions.items()}
        self._lock = threading.Condition()
        self._is_over = False
        self._threads = [threading.Thread(target=self._ask_on, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def end(self) -> Counted:
        """Stop asking; what was under way is still answered and counted."""
        self._is_over = True
        for thread in self._threads:
            thread.join(30.0)
            assert not thread.is_alive(), "a request was never answered"
        return self.counted

    def until(self, more: int, version: str | None = None) -> None:
        """Until so ``more`` right answers have come, of ``version`` if one is given."""

        def count() -> int:
            return self.counted.total if version is None else self.counted.right.get(version, 0)

        with self._lock:
            wanted = count() + more
            assert self._lock.wait_for(lambda: count() >= wanted, 60.0), self.counted

    def _ask_on(self) -> None:
        connection = self._connection()
        while not self._is_over:
            verdict, is_right = self._ask(connection)
            with self._lock:
                if is_right:
                    self.counted.right[verdict] = self.counted.right.get(verdict, 0) + 1
                else:
                    self.counted.failures.append(verdict)
                self._lock.notify_all()
            if not (is_right and self._is_kept_alive):
                connection.close()
                connection = self._connection()
        connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._address.hostname or "", self._address.port, timeout=30)

    def _ask(self, connection: http.client.HTTPConnection) -> tuple[str, bool]:
        try:
            connection.request("POST", self._path, BODY)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            return f"lost: {type(error).__name__}", False
        if response.status != 200:
            return f"{response.status}: {text.decode()}", False
        answer = json.loads(text)
        version = str(answer["model_version"])
        given = answer["outputs"][0]["data"]
        if not np.allclose(given, self._expected.get(version, np.nan), rtol=RTOL, atol=0):
            return f"version {version} does not give {given}", False
        return version, True


def expected(model: onnx.ModelProto) -> Any:
    """What ``model`` gives for ``ROW``, flat."""
    return np.ravel(ReferenceEvaluator(model).run(None, {"x": np.array([ROW], np.float32)})[0])
