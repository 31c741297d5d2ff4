"""A server of ours with a model for every datatype, once for all tests of the suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mlserve.bench.conformance.calls import GrpcPort
from mlserve.bench.conformance.exchange import HttpPort
from mlserve.bench.conformance.probe import Probe, discovered
from mlserve.core.dtypes import DType
from tests.cli.test_serve import Server, server
from tests.models import echo, labelled_classifier, saved, two_inputs

DTYPES = [dtype for dtype in DType if dtype.oip is not None]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("conformance")
    made = [saved(echo(dtype), folder / f"{dtype.value}.onnx") for dtype in DTYPES]
    made += [saved(labelled_classifier(), folder / "classes.onnx"), saved(two_inputs(), folder / "two.onnx")]
    return made


@pytest.fixture(scope="session")
def served(models: list[Path]) -> Iterator[Server]:
    with server(*models) as running:
        yield running


@pytest.fixture(scope="session")
def probe(served: Server) -> Iterator[Probe]:
    """Our server, over both ports."""
    grpc = GrpcPort(served.events[0]["grpc"])
    yield discovered(HttpPort(served.url), grpc)
    grpc.close()
