"""A client that keeps asking, one request after the other on one connection, and remembers every answer."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit


class Client(threading.Thread):
    """Posts ``row`` until stopped, and keeps what came back.

    ``versions`` counts the answers by version, ``answers`` holds the first of each and ``first_s`` when it came
    (``perf_counter``). ``latencies_ms`` has an entry for every reply, ``failures`` a sentence for what was no answer.
    """

    def __init__(self, url: str, model: str, input_name: str, row: list[float]) -> None:
        super().__init__(daemon=True)
        tensor = {"name": input_name, "shape": [1, len(row)], "datatype": "FP32", "data": row}
        self._address = urlsplit(url)
        self._path = f"/v2/models/{model}/infer"
        self._body = json.dumps({"inputs": [tensor]})
        self._stopping = threading.Event()
        self.versions: Counter[str] = Counter()
        self.answers: dict[str, Any] = {}
        self.failures: list[str] = []
        self.first_s: dict[str, float] = {}
        self.latencies_ms: list[float] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address.hostname or "", self._address.port, timeout=30)
        while not self._stopping.is_set():
            started_s = time.perf_counter()
            try:
                connection.request("POST", self._path, self._body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.failures.append(repr(error))
                connection.close()
                continue
            ended_s = time.perf_counter()
            self.latencies_ms.append((ended_s - started_s) * 1e3)
            if response.status != 200:
                self.failures.append(f"{response.status} {answer}")
                continue
            version = answer["model_version"]
            self.answers.setdefault(version, answer["outputs"])
            self.first_s.setdefault(version, ended_s)
            self.versions[version] += 1
        connection.close()

    def wait_for(self, version: str, answers: int, timeout_s: float = 30) -> bool:
        """Whether ``version`` has given that many answers before ``timeout_s`` have passed."""
        deadline_s = time.monotonic() + timeout_s
        while self.versions[version] < answers and time.monotonic() < deadline_s:
            time.sleep(0.01)
        return self.versions[version] >= answers

    def stop(self) -> None:
        self._stopping.set()
        self.join()
