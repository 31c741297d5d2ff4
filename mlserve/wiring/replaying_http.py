"""A live server as the wire of a replay: requests over HTTP as they come, each reply matched by its request's id.

Tensors go as bytes where the server says that it takes them, so that no number is rounded on the way; else as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np

from mlserve.bench.asking import binary_body, json_body
from mlserve.bench.clients import RIGHT, Client, Clients
from mlserve.bench.messages import Message, Received, post
from mlserve.bench.outcomes import LOST
from mlserve.core.dtypes import DType, from_oip
from mlserve.core.tensors import Signature
from mlserve.errors import MlserveError, Unavailable
from mlserve.replay.answering import Answered
from mlserve.replay.pacing import Done
from mlserve.replay.schedule import Unit
from mlserve.wiring.remote import RemoteModel, array_of, authorization

Arrays = dict[str, np.ndarray[Any, Any]]
BINARY = "binary_tensor_data"
CONNECTIONS = 256
"""So many requests may be under way; those due beyond that wait, and their wait counts."""

TIMEOUT_S = 60.0
LOOK_S = 1.0


class HttpWire:
    """``connections`` to the model that ``remote`` names, at ``base``. Raises Unavailable where nobody answers."""

    candidates = 1

    def __init__(
        self,
        remote: RemoteModel,
        base: str,
        signature: Signature,
        *,
        key: str | None,
        clock: Callable[[], float],
        connections: int = CONNECTIONS,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        parts = urlsplit(base)
        is_tls = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port or (443 if is_tls else 80)
        self._path = f"{remote.path}/infer"
        self._headers = [f"{name}: {value}" for name, value in authorization(key).items()]
        self.protocol: Literal["binary", "json"] = "binary" if BINARY in remote.extensions else "json"
        self._dtypes = {spec.name: spec.dtype for spec in signature.inputs}
        self._clock = clock
        self._timeout_s = timeout_s
        self._looked_s = clock()
        self._clients = _clients(self._host, self._port, connections, is_tls=is_tls)
        self._free = list(self._clients.all)
        self._under_way: dict[int, tuple[int, Unit, str]] = {}
        self._failed: list[Done] = []

    def close(self) -> None:
        self._clients.close()

    def has_room(self) -> bool:
        return bool(self._free)

    def send(self, number: int, unit: Unit) -> None:
        client = self._free.pop()
        request_id = unit.batch.ids[0]
        try:
            if client.sock is None:
                self._clients.connect(client)
        except Unavailable as error:
            self._free.append(client)
            self._failed.append(self._failure(number, unit, error.message))
            return
        inputs = {name: array for name, array in unit.batch.inputs.items() if name in self._dtypes}
        self._under_way[client.number] = (number, unit, request_id)
        self._clients.ask(client, Message(self._request(inputs, request_id)), self._clock())

    def take(self, timeout_s: float) -> list[Done]:
        found, self._failed = self._failed, []
        for client in self._clients.ready(0.0 if found else timeout_s):
            verdict = self._clients.take(client)
            if verdict is not None:
                found.append(self._done(client, verdict))
            elif client.sock is None and client.number in self._under_way:
                found.append(self._done(client, LOST))
        if self._clock() - self._looked_s > LOOK_S:
            self._looked_s = self._clock()
            found += self._given_up()
        return found

    def _request(self, inputs: Mapping[str, Any], request_id: str) -> bytes:
        if self.protocol == "json":
            body = json_body(inputs, self._dtypes, request_id)
            return post(self._host, self._port, self._path, body, ["Content-Type: application/json", *self._headers])
        body, json_bytes = binary_body(inputs, self._dtypes, request_id)
        headers = ["Content-Type: application/octet-stream", f"Inference-Header-Content-Length: {json_bytes}"]
        return post(self._host, self._port, self._path, body, [*headers, *self._headers])

    def _done(self, client: Client, verdict: str) -> Done:
        number, unit, request_id = self._under_way.pop(client.number)
        self._free.append(client)
        reply, client.reply = client.reply, None
        if verdict == RIGHT and reply is not None:
            try:
                outputs = outputs_of(reply, request_id)
                if unit.batch.has_rows and any(len(array) != unit.batch.rows for array in outputs.values()):
                    raise ValueError(f"its tensors do not have {unit.batch.rows} rows")
                return Done(number, 0, Answered(outputs, np.zeros(1)), self._clock())
            except (MlserveError, KeyError, TypeError, ValueError) as error:
                return self._failure(number, unit, f"the reply is none: {error}")
        return self._failure(number, unit, _said(reply) or verdict)

    def _failure(self, number: int, unit: Unit, error: str) -> Done:
        failed = dict.fromkeys(range(unit.batch.requests), error)
        return Done(number, 0, Answered({}, np.zeros(unit.batch.requests), failed), self._clock())

    def _given_up(self) -> list[Done]:
        """Requests that nobody has answered for too long; their connections are of no more use."""
        found = []
        for client in self._clients.all:
            if client.number in self._under_way and self._looked_s - client.due_s > self._timeout_s:
                self._clients.disconnect(client)
                found.append(self._done(client, f"no answer within {self._timeout_s:g} s"))
        return found


def outputs_of(reply: Received, request_id: str) -> Arrays:
    """The tensors of an answer, those in JSON and those in the bytes behind it.

    Raises ValueError for the answer to another request, and with KeyError and TypeError for what is no answer.
    """
    size = len(reply.body) if reply.json_bytes is None else reply.json_bytes
    document = json.loads(reply.body[:size])
    if document.get("id", request_id) != request_id:
        raise ValueError(f"it is of request '{document['id']}'")
    outputs: Arrays = {}
    for fields in document["outputs"]:
        blob_bytes = (fields.get("parameters") or {}).get("binary_data_size")
        if blob_bytes is None:
            outputs[fields["name"]] = array_of(fields)
            continue
        dtype = from_oip(fields["datatype"])
        blob = reply.body[size : size + blob_bytes]
        size += blob_bytes
        flat = _texts(blob) if dtype is DType.STRING else np.frombuffer(blob, dtype.numpy)
        outputs[fields["name"]] = flat.reshape(fields["shape"])
    return outputs


def _texts(blob: bytes) -> np.ndarray[Any, Any]:
    found, at = [], 0
    while at < len(blob):
        length = int.from_bytes(blob[at : at + 4], "little")
        found.append(blob[at + 4 : at + 4 + length].decode("utf-8", "replace"))
        at += 4 + length
    return np.array(found, object)


def _said(reply: Received | None) -> str | None:
    """What the server said of its refusal."""
    if reply is None:
        return None
    try:
        said = json.loads(reply.body).get("error")
    except (ValueError, AttributeError):
        return None
    return f"status {reply.status}: {said}" if isinstance(said, str) and said else None


def _clients(host: str, port: int, count: int, *, is_tls: bool) -> Clients:
    if not is_tls:
        return Clients(host, port, count)
    from mlserve.bench.tls_clients import TlsClients

    return TlsClients(host, port, count)
