"""A search page that asks a server for the order of what it shows; it speaks the protocol and needs no mlserve."""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from examples.ranking.features import Question

CLIENTS = 4


def ask(url: str, model: str, asked: Sequence[tuple[str, Question]]) -> dict[str, list[float]]:
    """The score of each row of each question, by request id, asked by several clients at once.

    Raises RuntimeError for a request that was not answered.
    """
    with ThreadPoolExecutor(CLIENTS) as pool:
        parts = pool.map(lambda number: _asked_by_one(url, model, asked[number::CLIENTS]), range(CLIENTS))
        return {request_id: scores for part in parts for request_id, scores in part.items()}


def shadow(url: str, model: str) -> Any:
    """What the version in shadow has shown so far."""
    return _get(url, f"/v2/models/{model}/shadow")


def tell_outcomes(url: str, model: str, asked: Sequence[tuple[str, Question]]) -> Any:
    """Tell the server which rows of each request turned out to be relevant, and return what became of that."""
    outcomes = [{"id": request_id, "label": question.relevant.tolist()} for request_id, question in asked]
    return _reply(url, "POST", f"/v2/models/{model}/outcomes", {"outcomes": outcomes})


def _asked_by_one(url: str, model: str, asked: Sequence[tuple[str, Question]]) -> dict[str, list[float]]:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    scores = {}
    for request_id, question in asked:
        rows, columns = question.features.shape
        tensor = {
            "name": "input",
            "shape": [rows, columns],
            "datatype": "FP32",
            "data": question.features.ravel().tolist(),
        }
        answer = _exchange(connection, "POST", f"/v2/models/{model}/infer", {"id": request_id, "inputs": [tensor]})
        (output,) = answer["outputs"]
        scores[request_id] = output["data"]
    connection.close()
    return scores


def _get(url: str, path: str) -> Any:
    return _reply(url, "GET", path, None)


def _reply(url: str, method: str, path: str, body: Any) -> Any:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    try:
        return _exchange(connection, method, path, body)
    finally:
        connection.close()


def _exchange(connection: http.client.HTTPConnection, method: str, path: str, body: Any) -> Any:
    content = None if body is None else json.dumps(body)
    connection.request(method, path, content, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    if response.status != 200:
        raise RuntimeError(f"{method} {path}: {response.status} {answer}")
    return answer
