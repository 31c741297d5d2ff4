"""Triton's own load generator, unmodified, against both ports: it reads metadata, configuration and statistics too.

Runs where the program is on the PATH (`pip install perf-analyzer`, whose wheels need glibc 2.38).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests import models
from tests.processes import MLSERVE, listening

PROGRAM = shutil.which("perf_analyzer")
REQUESTS = 200


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("perf")
    models.saved(models.classifier(), folder / "iris.onnx")
    models.saved(models.strings(), folder / "texts.onnx")
    with listening(MLSERVE, folder, "iris.onnx", "texts.onnx") as ready:
        yield ready


@pytest.mark.skipif(PROGRAM is None, reason="perf_analyzer is not installed (its wheels need glibc 2.38)")
@pytest.mark.parametrize("model", ["iris", "texts"])
@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        pytest.param("http", [], id="HTTP"),
        pytest.param("http", ["--async"], id="HTTP async"),
        pytest.param("http", ["--input-tensor-format", "json", "--output-tensor-format", "json"], id="HTTP as JSON"),
        pytest.param("grpc", [], id="gRPC"),
        pytest.param("grpc", ["--async"], id="gRPC async"),
        pytest.param("grpc", ["--async", "--streaming"], id="gRPC stream"),
    ],
)
def test_perf_analyzer_measures_us(ready: dict[str, Any], protocol: str, options: list[str], model: str) -> None:
    assert PROGRAM is not None
    address = str(ready[protocol]).removeprefix("http://")
    limits = ["--concurrency-range", "4", "--request-count", str(REQUESTS)]

    run = subprocess.run(
        [PROGRAM, "-m", model, "-i", protocol, "-u", address, *limits, *options],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    said = run.stdout + run.stderr
    assert run.returncode == 0, said
    assert f"Request count: {REQUESTS}\n" in said, said
    # The server's part of the report is made of our statistics, which are looked at while requests are under way.
    (counted,) = re.findall(r"Successful request count: (\d+)", said)
    assert int(counted) >= REQUESTS // 2
    assert "Failed" not in said, said
