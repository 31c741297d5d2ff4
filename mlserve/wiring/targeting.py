"""What a bench target names, made ready to be loaded: a driver with requests whose answers are known.

http://…  ─► HTTP with JSON or binary tensors     grpc://…          ─► gRPC        each answer learnt alone, first
ref       ─► its version, verified, and           NAME.onnx, a path ─► the file,   in the engine of this process
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from mlserve.bench.asking import DISTINCT, Arrays, Protocol, requests_of, rowwise
from mlserve.bench.stretches import Driver
from mlserve.core.tensors import Signature
from mlserve.errors import InvalidInput, UsageError
from mlserve.wiring.connecting import connect, settings_in_force
from mlserve.wiring.grpc_remote import SCHEME
from mlserve.wiring.predicting import is_path
from mlserve.wiring.remote import RemoteModel, authorization, is_url, parse_url, read_key

if TYPE_CHECKING:
    from mlserve.rows.reading import Roles
    from mlserve.runtime.tuned import TunedProfile

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """What to ask a target: ``rows`` a request, of the file ``data`` or made up; ``protocol`` None is the usual."""

    rows: int = 1
    data: Path | None = None
    protocol: Protocol | None = None
    roles: Roles | None = None
    ignore_extra: bool = False
    api_key_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """A driver for a target, and what is known of what answers."""

    driver: Driver
    protocol: str
    rows: int
    digest: str | None
    data_digest: str | None


@contextmanager
def opened(
    target: str, asked: Asked, generators: int, flags: Mapping[str, Any], config_file: Path | None
) -> Iterator[Target]:
    """``target``, ready for load from so many generators. Raises UsageError, NotFound, Unavailable, InvalidInput."""
    if target.startswith(SCHEME):
        yield _opened_grpc(target, asked, generators)
    elif is_url(target):
        yield _opened_http(target, asked, generators)
    else:
        with _opened_here(target, asked, flags, config_file) as found:
            yield found


def _opened_http(target: str, asked: Asked, generators: int) -> Target:
    from mlserve.bench.clients import learn
    from mlserve.bench.generators import ServerDriver
    from mlserve.bench.tls_clients import learn_over_tls

    protocol: Protocol = asked.protocol or "json"
    if protocol == "grpc":
        raise UsageError(f"'{target}' is no address of a gRPC server", hint="grpc://HOST:PORT/NAME")
    address = parse_url(target)
    parts = urlsplit(address.base)
    is_tls = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if is_tls else 80)
    key = read_key(asked.api_key_file)
    remote = RemoteModel(address, key=key)
    try:
        signature = remote.signature()
        inputs, data_digest = inputs_of(signature, asked)
        path = f"{remote.path}/infer"
        requests = list(requests_of(inputs, signature, protocol, host, port, path, authorization(key)))
        digest = remote.digest
    finally:
        remote.close()
    ask = learn_over_tls if is_tls else learn
    messages = taking_the_rows(asked, lambda: ask(host, port, requests))
    driver = ServerDriver(host, port, messages, generators, tls=is_tls)
    return Target(driver, protocol, rows_of(inputs[0]), digest, data_digest)


def _opened_grpc(target: str, asked: Asked, generators: int) -> Target:
    from mlserve.bench.generators import ServerDriver
    from mlserve.bench.grpc_messages import INFER, infer_request
    from mlserve.wiring.grpc_remote import GrpcModel

    if asked.protocol not in (None, "grpc"):
        raise UsageError(f"'{target}' is asked over gRPC, not with --protocol {asked.protocol}")
    metadata = authorization(read_key(asked.api_key_file))
    remote = GrpcModel(target, metadata)
    try:
        signature, digest = remote.signature()
        inputs, data_digest = inputs_of(signature, asked)
        dtypes = {spec.name: spec.dtype for spec in signature.inputs}
        requests = [infer_request(remote.model, remote.version, arrays, dtypes) for arrays in inputs]
        messages = taking_the_rows(asked, lambda: remote.learn(requests))
    finally:
        remote.close()
    driver = ServerDriver(remote.host, remote.port, messages, generators, INFER, metadata=metadata)
    return Target(driver, "grpc", rows_of(inputs[0]), digest, data_digest)


@contextmanager
def _opened_here(target: str, asked: Asked, flags: Mapping[str, Any], config_file: Path | None) -> Iterator[Target]:
    from mlserve.wiring.calling import calling

    if asked.protocol is not None:
        raise UsageError(f"--protocol {asked.protocol} needs a server, and '{target}' is run in this process")
    with file_of(target, flags, config_file) as (path, digest, profiles):
        settings = settings_in_force(flags, config_file).settings.serve
        with calling(path, settings, profiles) as driver:
            inputs, data_digest = inputs_of(driver.signature, asked)
            taking_the_rows(asked, lambda: driver.learn([dict(arrays) for arrays in inputs]))
            yield Target(driver, "in process", rows_of(inputs[0]), digest, data_digest)


@contextmanager
def file_of(
    target: str, flags: Mapping[str, Any], config_file: Path | None
) -> Iterator[tuple[Path, str | None, list[TunedProfile]]]:
    """The model's file, and of a version of the registry its digest and how it was tuned."""
    if is_path(target):
        yield Path(target), None, []
        return
    from mlserve.core.refs import parse_ref
    from mlserve.registry.evidencing import evidence_of
    from mlserve.registry.versions import get_version
    from mlserve.runtime.tuned import profiles_in

    with connect(config_file, flags=flags, registry=flags.get("registry")) as app:
        version = get_version(app.store, parse_ref(target))
        profiles = profiles_in(evidence_of(app.store, version.digest))
        yield app.artefacts.open_local(version.manifest, None), version.digest, profiles


def inputs_of(signature: Signature, asked: Asked) -> tuple[list[Arrays], str | None]:
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


def taking_the_rows(asked: Asked, learn: Callable[[], T]) -> T:
    """What ``learn`` gives. Rows that were made up may mean nothing to a model: then real ones are asked for."""
    try:
        return learn()
    except InvalidInput as error:
        if asked.data is None:
            raise InvalidInput(f"the rows made up for it are refused: {error.message}", hint="--input DATA") from error
        raise


def rows_of(arrays: Arrays) -> int:
    """How many rows a request of these arrays has; 1 where that cannot be said."""
    lengths = {len(array) for array in arrays.values() if array.ndim}
    return lengths.pop() if len(lengths) == 1 else 1
