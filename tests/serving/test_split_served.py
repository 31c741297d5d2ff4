"""Champion and challenger of a real server with two workers: who answers goes by the key, wherever that stands."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from mlserve.core.refs import Stage
from tests.serving.faults.conftest import Registry, Server, made
from tests.serving.faults.traffic import ROW

KEYS = [f"customer {number}" for number in range(2000)]
FEW = KEYS[:200]
SHARE, LARGER_SHARE = 0.2, 0.5


class Client:
    """A connection, which some worker answers."""

    def __init__(self, server: Server) -> None:
        self._connection = http.client.HTTPConnection(*server.address, timeout=30)

    def arm(self, header: str | None = None, parameter: str | None = None, row: list[float] | None = None) -> str:
        """The version that answers a request with the key there."""
        body: dict[str, Any] = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": row or ROW}]}
        if parameter is not None:
            body["parameters"] = {"unit_key": parameter}
        headers = {} if header is None else {"mlserve-unit-key": header}
        self._connection.request("POST", "/v2/models/fraud/infer", json.dumps(body), headers)
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200, answer
        return str(answer["model_version"])

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder: Path = tmp_path_factory.mktemp("split")
    found = made(f"sqlite:///{folder / 'registry.db'}", folder)
    found.promote("2", Stage.CHALLENGER, traffic=SHARE)
    yield found
    found.store.close()


def challenged(clients: list[Client], keys: list[str], where: str) -> set[str]:
    """The keys that the challenger answers, asked over one client after the other."""
    found = set()
    for number, key in enumerate(keys):
        if clients[number % len(clients)].arm(**{where: key}) == "2":
            found.add(key)
    return found


def is_within_chance(count: int, asked: int, share: float) -> bool:
    """Whether so many of ``asked`` are a binomial draw of ``share``: within four standard deviations, 1 in 16 000."""
    return abs(count - asked * share) <= 4 * sqrt(asked * share * (1 - share))


def test_a_key_stays_in_its_arm_wherever_it_stands_and_however_the_share_grows(registry: Registry) -> None:
    with registry.serving("--workers", "2", env={"MLSERVE_SERVE__UNIT_KEY_INPUT": "x"}) as server:
        clients = [Client(server) for _ in range(8)]
        by_header = challenged(clients, KEYS, "header")
        again = challenged(clients[1:], FEW, "header")
        by_parameter = challenged(clients, FEW, "parameter")
        rows = [[number / 7, *ROW[1:]] for number in range(1000)]
        by_field = {row[0] for row in rows if clients[0].arm(row=row) == "2"}
        by_field_again = {row[0] for row in rows[:200] if clients[3].arm(row=row) == "2"}

        generation = registry.promote("2", Stage.CHALLENGER, traffic=LARGER_SHARE)
        registry.until_swapped(generation, Stage.CHALLENGER)
        larger = challenged(clients, KEYS, "header")
        for client in clients:
            client.close()
        assert server.end() == 0

    assert is_within_chance(len(by_header), len(KEYS), SHARE)
    assert again == by_parameter == by_header & set(FEW), "over other connections, and in the body"
    assert is_within_chance(len(by_field), len(rows), SHARE)
    assert by_field_again == by_field & {row[0] for row in rows[:200]}
    assert is_within_chance(len(larger), len(KEYS), LARGER_SHARE)
    assert by_header < larger, "a ramp takes nobody back"
