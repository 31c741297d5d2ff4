"""A departures board that asks a server about the flights of each hour; it speaks the protocol, no mlserve in it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from examples.churn.flights import FEATURES, TEXTS


def play(url: str, model: str, rows: pd.DataFrame) -> int:
    """Ask about ``rows`` as fast as the server answers, the flights of an hour in one request: how many requests.

    Raises RuntimeError for a request that was not answered.
    """
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    count = 0
    for request_id, hour in by_hour(rows):
        # NaN is no JSON, but what the server reads, and most clients write.
        body = json.dumps({"id": request_id, "inputs": [_tensor(name, hour[name]) for name in FEATURES]})
        connection.request("POST", f"/v2/models/{model}/infer", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"{request_id}: {response.status} {answer.decode()}")
        count += 1
    connection.close()
    return count


def write_outcomes(path: Path, rows: pd.DataFrame) -> None:
    """What became of ``rows``, a line for each request with one label a flight."""
    told = ({"request_id": request_id, "label": hour.label.tolist()} for request_id, hour in by_hour(rows))
    path.write_text("".join(f"{json.dumps(line)}\n" for line in told), encoding="utf-8")


def by_hour(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The flights of each hour, in order, with the id of their request: the hour, in UTC."""
    for hour, flights in rows.groupby(rows.time.dt.floor("h"), sort=True):
        yield f"{hour:%Y-%m-%dT%H}", flights


def _tensor(name: str, column: pd.Series) -> dict[str, Any]:
    datatype = "BYTES" if name in TEXTS else "FP32"
    return {"name": name, "shape": [len(column), 1], "datatype": datatype, "data": column.tolist()}
