"""Peers that live in virtual environments of their own, made by ``make bench-peers``; absent ones are not measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from mlserve.bench.grpc_messages import INFER
from mlserve.bench.messages import post_json
from mlserve.errors import MlserveError
from mlserve.wiring.grpc_remote import GrpcModel
from tests.bench.servers import ALL_CORES, HOST, START_S, Server, free_port, learned, started
from tests.bench.table import NotAvailable
from tests.bench.tabular import rows

PEERS = Path("build/bench/peers")
HERE = Path(__file__).parent


@contextmanager
def mosec(model: Path, distinct: int) -> Iterator[Server]:
    """mosec, which batches for 2 ms, on all cores: it is two processes by itself. Raises NotAvailable."""
    python = _python("mosec")
    port = free_port()
    command = [str(python), str(HERE / "mosec_handler.py"), "--port", str(port), "--address", HOST]
    with started(command, ALL_CORES, env={"BENCH_MODEL": str(model.absolute())}) as process:
        asked = [post_json(HOST, port, "/inference", {"features": row}) for row in rows(distinct)]
        yield Server("mosec", port, process.pid, learned(port, asked))


@contextmanager
def mlserver_grpc(model: Path, requests: list[bytes]) -> Iterator[Server]:
    """MLServer's gRPC port, the model in its own process. Raises NotAvailable."""
    python = _python("mlserver")
    http, grpc, metrics = free_port(), free_port(), free_port()
    with TemporaryDirectory() as folder:
        home = Path(folder)
        settings = {"debug": False, "host": HOST, "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
        (home / "settings.json").write_text(json.dumps(settings | {"parallel_workers": 0}))
        (home / "runtime.py").write_text((HERE / "mlserver_runtime.py").read_text())
        (home / "model-settings.json").write_text(json.dumps({"name": "tabular", "implementation": "runtime.Runtime"}))
        command = [str(python.with_name("mlserver")), "start", folder]
        with started(command, ALL_CORES, env={"BENCH_MODEL": str(model.absolute())}) as process:
            remote = GrpcModel(f"grpc://{HOST}:{grpc}/tabular")
            try:
                yield Server("MLServer gRPC", grpc, process.pid, _once_up(remote, requests), INFER)
            finally:
                remote.close()


def _once_up(remote: GrpcModel, requests: list[bytes]) -> list:
    end_s = monotonic() + START_S
    while True:
        try:
            return remote.learn(requests)
        except MlserveError as error:
            if monotonic() > end_s:
                raise NotAvailable(error.message) from error
            sleep(0.2)


def _python(name: str) -> Path:
    python = PEERS / name / "bin" / "python"
    if not python.exists():
        raise NotAvailable(f"{name} is not installed: make bench-peers")
    return python.absolute()
