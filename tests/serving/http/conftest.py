"""An engine that answers when it is told to, and a client of it without a socket."""

from __future__ import annotations

import pytest

from mlserve.core.dtypes import DType
from tests.serving.fakes import FakeEngine, doubling, echo
from tests.serving.http.wire import Client


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine(held=True)
    engine.add(doubling())
    engine.add(echo(DType.FLOAT32))
    return engine


@pytest.fixture
def client(engine: FakeEngine) -> Client:
    return Client(engine)
