"""``mlserve bench``: load for whatever a target names, judged, and kept as evidence and as a report.

URL of a server   ─► HTTP with JSON or binary tensors, or gRPC        the answers learnt first, each alone
ref or .onnx file ─► the batching engine in this process, no sockets
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mlserve.bench.asking import DISTINCT, Arrays, Protocol, requests_of, rowwise
from mlserve.bench.measuring import Plan, measure
from mlserve.bench.runs import Run
from mlserve.bench.stretches import Driver
from mlserve.core.files import replacing
from mlserve.core.progress import Progress, silent
from mlserve.core.tensors import Signature
from mlserve.errors import InvalidInput, UsageError
from mlserve.wiring.connecting import App, connect, settings_in_force
from mlserve.wiring.predicting import is_path
from mlserve.wiring.remote import RemoteModel, is_url, parse_url

if TYPE_CHECKING:
    from mlserve.rows.reading import Roles

KIND = "bench"
GRPC = "grpc://"


@dataclass(frozen=True, slots=True)
class Asked:
    """What to ask a target: ``rows`` a request, of the file ``data`` or made up; ``protocol`` None is the usual."""

    rows: int = 1
    data: Path | None = None
    protocol: Protocol | None = None
    roles: Roles | None = None
    ignore_extra: bool = False


@dataclass(frozen=True, slots=True)
class BenchReport:
    """What a bench found. ``digest`` is that of what answered, where it is known."""

    target: str
    protocol: str
    plan: Plan
    runs: Sequence[Run]
    machine: Mapping[str, Any]
    digest: str | None = None
    data_digest: str | None = None
    recorded: bool = field(default=False)

    @property
    def passed(self) -> bool | None:
        """Whether every run met the SLO; None where there is none."""
        return None if self.plan.slo is None else all(run.is_slo_met for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "target": self.target,
            "protocol": self.protocol,
            "rows": plan.rows,
            "arrivals": plan.arrivals if any(run.point.rate for run in self.runs) else None,
            "slo": plan.slo.text if plan.slo else None,
            "passed": self.passed,
            "price_per_hour": plan.price_per_hour,
            "digest": self.digest,
            "data_digest": self.data_digest,
            "recorded": self.recorded,
            "machine": dict(self.machine),
            "runs": [run.to_dict() for run in self.runs],
        }


@dataclass(frozen=True, slots=True)
class _Target:
    """A driver for a target, and what is known of what answers."""

    driver: Driver
    protocol: str
    rows: int
    digest: str | None
    data_digest: str | None


def bench_target(
    target: str,
    plan: Plan,
    asked: Asked,
    *,
    generators: int = 1,
    record: bool = False,
    flags: Mapping[str, Any] | None = None,
    config_file: Path | None = None,
    progress: Progress = silent,
) -> BenchReport:
    """Load ``target`` as ``plan`` says, and with ``record`` keep what was found as evidence of its digest.

    Raises UsageError, NotFound, Unavailable, and InvalidInput for rows that the model does not take.
    """
    flags = flags or {}
    with _opened(target, asked, generators, flags, config_file) as found:
        if record and found.digest is None:
            raise UsageError(
                f"'{target}' is no version of a registry: there is nothing to keep evidence of", hint="without --record"
            )
        plan = _with_rows(plan, found.rows)
        report = BenchReport(
            target,
            found.protocol,
            plan,
            measure(found.driver, plan, progress),
            machine(),
            found.digest,
            found.data_digest,
        )
    if not record:
        return report
    with connect(config_file, flags=flags, registry=flags.get("registry")) as app:
        return _recorded(app, report)


def write_report(report: BenchReport, file: Path) -> None:
    """Write ``report`` as one page. Raises MissingExtra without the extra ``report``, InvalidInput."""
    from mlserve.report.bench import render_bench

    page = render_bench(report.to_dict(), [(str(run.point), run.curve_ms()) for run in report.runs])
    with replacing(file) as partial:
        partial.write_text(page, encoding="utf-8")


def default_generators() -> int:
    """So many processes ask over HTTP: half the cores, for the server may need the others; four at most."""
    from mlserve.runtime.threads import usable_cores

    return max(1, min(4, usable_cores() // 2))


def machine() -> dict[str, Any]:
    """What figures of speed depend on."""
    from mlserve.runtime.threads import usable_cores

    return {"cores": usable_cores(), "machine": _processor(), "python": platform.python_version()}


@contextmanager
def _opened(
    target: str, asked: Asked, generators: int, flags: Mapping[str, Any], config_file: Path | None
) -> Iterator[_Target]:
    if target.startswith(GRPC):
        yield _opened_grpc(target, asked, generators)
    elif is_url(target):
        yield _opened_http(target, asked, generators)
    else:
        with _opened_here(target, asked, flags, config_file) as found:
            yield found


def _opened_http(target: str, asked: Asked, generators: int) -> _Target:
    from mlserve.bench.clients import learn
    from mlserve.bench.generators import ServerDriver

    protocol: Protocol = asked.protocol or "json"
    if protocol == "grpc":
        raise UsageError(f"'{target}' is no address of a gRPC server", hint="grpc://HOST:PORT/NAME")
    address = parse_url(target)
    parts = urlsplit(address.base)
    if parts.scheme != "http":
        raise UsageError(f"'{target}': load goes over plain HTTP only", hint="http://HOST:PORT")
    host, port = parts.hostname or "", parts.port or 80
    remote = RemoteModel(address)
    try:
        signature = remote.signature()
        inputs, data_digest = _inputs(signature, asked)
        path = f"{remote.path}/infer"
        requests = list(requests_of(inputs, signature, protocol, host, port, path))
        digest = remote.digest
    finally:
        remote.close()
    messages = _taking_the_rows(asked, lambda: learn(host, port, requests))
    return _Target(ServerDriver(host, port, messages, generators), protocol, _rows(inputs[0]), digest, data_digest)


def _opened_grpc(target: str, asked: Asked, generators: int) -> _Target:
    from mlserve.bench.generators import ServerDriver
    from mlserve.bench.grpc_messages import INFER, infer_request
    from mlserve.wiring.grpc_remote import GrpcModel

    if asked.protocol not in (None, "grpc"):
        raise UsageError(f"'{target}' is asked over gRPC, not with --protocol {asked.protocol}")
    remote = GrpcModel(target)
    try:
        signature, digest = remote.signature()
        inputs, data_digest = _inputs(signature, asked)
        dtypes = {spec.name: spec.dtype for spec in signature.inputs}
        requests = [infer_request(remote.model, remote.version, arrays, dtypes) for arrays in inputs]
        messages = _taking_the_rows(asked, lambda: remote.learn(requests))
    finally:
        remote.close()
    driver = ServerDriver(remote.host, remote.port, messages, generators, INFER)
    return _Target(driver, "grpc", _rows(inputs[0]), digest, data_digest)


@contextmanager
def _opened_here(target: str, asked: Asked, flags: Mapping[str, Any], config_file: Path | None) -> Iterator[_Target]:
    from mlserve.wiring.calling import calling

    if asked.protocol is not None:
        raise UsageError(f"--protocol {asked.protocol} needs a server, and '{target}' is run in this process")
    with _file_of(target, flags, config_file) as (path, digest):
        settings = settings_in_force(flags, config_file).settings.serve
        with calling(path, settings) as driver:
            inputs, data_digest = _inputs(driver.signature, asked)
            _taking_the_rows(asked, lambda: driver.learn([dict(arrays) for arrays in inputs]))
            yield _Target(driver, "in process", _rows(inputs[0]), digest, data_digest)


@contextmanager
def _file_of(target: str, flags: Mapping[str, Any], config_file: Path | None) -> Iterator[tuple[Path, str | None]]:
    """The model's file, and its digest where it is a version of the registry."""
    if is_path(target):
        yield Path(target), None
        return
    from mlserve.core.refs import parse_ref
    from mlserve.registry.versions import get_version

    with connect(config_file, flags=flags, registry=flags.get("registry")) as app:
        version = get_version(app.store, parse_ref(target))
        yield app.artefacts.open_local(version.manifest, None), version.digest


def _inputs(signature: Signature, asked: Asked) -> tuple[list[Arrays], str | None]:
    """The arrays of each request, and the digest of the file that they come from."""
    from mlserve.rows.reading import Roles, open_rows
    from mlserve.runtime.samples import synthetic_inputs

    if asked.data is None:
        made = synthetic_inputs(signature, asked.rows * DISTINCT, seed=0)
        return list(islice(rowwise(made, asked.rows), DISTINCT)), None
    source = open_rows(asked.data, signature, roles=asked.roles or Roles(), ignore_extra=asked.ignore_extra)
    found = [batch.inputs for batch in islice(source.batches(asked.rows), DISTINCT)]
    if not found:
        raise InvalidInput(f"'{asked.data}' has no rows")
    return list(found), source.digest


def _taking_the_rows(asked: Asked, learn: Any) -> Any:
    """What ``learn`` gives. Rows that were made up may mean nothing to a model: then real ones are asked for."""
    try:
        return learn()
    except InvalidInput as error:
        if asked.data is None:
            raise InvalidInput(f"the rows made up for it are refused: {error.message}", hint="--input DATA") from error
        raise


def _rows(arrays: Arrays) -> int:
    lengths = {len(array) for array in arrays.values() if array.ndim}
    return lengths.pop() if len(lengths) == 1 else 1


def _with_rows(plan: Plan, rows: int) -> Plan:
    return replace(plan, rows=rows)


def _recorded(app: App, report: BenchReport) -> BenchReport:
    from mlserve.core.evidence import Evidence, tool_versions
    from mlserve.registry.evidencing import add_evidence

    assert report.digest is not None
    evidence = Evidence(
        KIND,
        report.digest,
        report.passed,
        _figures(report),
        app.clock(),
        app.user,
        data_digest=report.data_digest,
        tools=tool_versions("onnxruntime", "onnxruntime-gpu"),
    )
    add_evidence(app.store, evidence)
    return replace(report, recorded=True)


def _figures(report: BenchReport) -> dict[str, Any]:
    """What gates may ask for: ``c8.p99_ms`` of a closed loop of 8 clients, ``r500.goodput_rps`` at 500 a second."""
    named = {
        f"c{run.point.concurrency}" if run.point.rate is None else f"r{run.point.rate:g}": run for run in report.runs
    }
    figures: dict[str, Any] = {
        "protocol": report.protocol,
        "rows": report.plan.rows,
        "slo": report.plan.slo.text if report.plan.slo else None,
        **{key: value for key, value in report.machine.items()},
    }
    for name, run in named.items():
        kept = ("requests", "errors", "rps", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "goodput_rps", "cost_per_million")
        document = run.to_dict()
        figures[name] = {key: document[key] for key in kept}
    return figures


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
