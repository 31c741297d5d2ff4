"""gRPC: the server, its models and their descriptions, the same as over HTTP."""

from __future__ import annotations

from mlserve.bench.conformance.calls import Refused
from mlserve.bench.conformance.probe import UNKNOWN, Probe
from mlserve.bench.conformance.verdicts import Book, RuleBroken, expect
from mlserve.protocol.messages import SERVICE

book = Book("grpc", port="grpc")
health = Book("health", port="grpc")
configuration = Book("grpc", port="grpc", extension="model_configuration")
statistics = Book("grpc", port="grpc", extension="statistics")
repository = Book("grpc", port="grpc", extension="model_repository")


def _refused(probe: Probe, method: str, *statuses: str, **fields: str) -> None:
    """Raises RuleBroken unless the call is refused with one of ``statuses``."""
    try:
        probe.port().call(method, (), **fields)
    except Refused as refusal:
        expect(refusal.status in statuses, f"{refusal.status} in place of {' or '.join(statuses)}: {refusal.sentence}")
    else:
        raise RuleBroken(f"{method} was answered")


@book.must("server-is-live")
def _live(probe: Probe) -> None:
    """ServerLive is true while the server answers."""
    expect(probe.port().call("ServerLive").live is True, "live is false")


@book.must("server-is-ready")
def _ready(probe: Probe) -> None:
    """ServerReady is true when models answer."""
    expect(probe.port().call("ServerReady").ready is True, "ready is false")


@book.must("server-metadata-is-that-of-http")
def _server(probe: Probe) -> None:
    """ServerMetadata has the name, version and extensions that HTTP gives."""
    found = probe.port().call("ServerMetadata")
    over_http = probe.http.get("/v2").document()
    for field in ("name", "version"):
        expect(getattr(found, field) == over_http[field], f"{field} is '{getattr(found, field)}'")
    expect(sorted(found.extensions) == sorted(over_http["extensions"]), f"extensions {sorted(found.extensions)}")


@book.must("model-is-ready")
def _model_ready(probe: Probe) -> None:
    """ModelReady is true of a model that answers."""
    expect(probe.port().call("ModelReady", name=probe.model().name).ready is True, "ready is false")


@book.must("unknown-model-is-not-ready")
def _unknown_ready(probe: Probe) -> None:
    """ModelReady of a model that does not exist is false, or NOT_FOUND."""
    try:
        found = probe.port().call("ModelReady", name=UNKNOWN).ready
    except Refused as refusal:
        expect(refusal.status in ("NOT_FOUND", "UNAVAILABLE"), f"{refusal.status}: {refusal.sentence}")
    else:
        expect(found is False, "ready is true")


@book.must("model-metadata-is-that-of-http")
def _metadata(probe: Probe) -> None:
    """ModelMetadata has the tensors that HTTP gives."""
    model = probe.model()
    found = probe.port().call("ModelMetadata", name=model.name)
    expect(found.name == model.name, f"name is '{found.name}'")
    for side, metas in ((found.inputs, model.inputs), (found.outputs, model.outputs)):
        here = [(one.name, one.datatype, tuple(one.shape)) for one in side]
        there = [(meta.name, meta.datatype, meta.shape) for meta in metas]
        expect(here == there, f"{here} in place of {there}")
    expect(tuple(found.versions) == model.versions, f"versions {list(found.versions)}")


@book.must("model-metadata-of-a-version")
def _version(probe: Probe) -> None:
    """ModelMetadata takes a version."""
    model = probe.model(lambda model: len(model.versions) > 0, "versions in its metadata")
    found = probe.port().call("ModelMetadata", name=model.name, version=model.versions[-1])
    expect(found.name == model.name, f"name is '{found.name}'")


@book.must("unknown-model-is-not-found")
def _unknown(probe: Probe) -> None:
    """ModelMetadata of a model that does not exist is NOT_FOUND."""
    _refused(probe, "ModelMetadata", "NOT_FOUND", name=UNKNOWN)


@book.must("unknown-version-is-refused")
def _unknown_version(probe: Probe) -> None:
    """ModelMetadata of a version that does not exist is refused."""
    statuses = ("NOT_FOUND", "INVALID_ARGUMENT", "UNAVAILABLE")
    _refused(probe, "ModelMetadata", *statuses, name=probe.model().name, version="987654321")


@book.must("unknown-method-is-unimplemented")
def _method(probe: Probe) -> None:
    """A method that does not exist is UNIMPLEMENTED."""
    try:
        probe.port().raw_call("NoSuchMethod", b"")
    except Refused as refusal:
        expect(refusal.status == "UNIMPLEMENTED", f"{refusal.status}: {refusal.sentence}")
    else:
        raise RuleBroken("it was answered")


@health.should("server-is-serving")
def _health(probe: Probe) -> None:
    """grpc.health.v1 says SERVING of the server."""
    found = probe.port().health("")
    expect(found == "SERVING", found)


@health.should("unknown-service-is-not-found")
def _health_unknown(probe: Probe) -> None:
    """grpc.health.v1 says NOT_FOUND of a service that does not exist."""
    try:
        found = probe.port().health(UNKNOWN)
    except Refused as refusal:
        expect(refusal.status == "NOT_FOUND", f"{refusal.status}: {refusal.sentence}")
    else:
        raise RuleBroken(f"{found} of a service that does not exist")


@book.should("reflection-lists-the-service")
def _reflection(probe: Probe) -> None:
    """Reflection lists inference.GRPCInferenceService."""
    found = probe.port().services()
    expect(SERVICE in found, f"services {', '.join(found)}")


@configuration.must("configuration-is-of-the-model")
def _config(probe: Probe) -> None:
    """ModelConfig has the name, batch size and tensors that HTTP gives."""
    model = probe.model()
    found = probe.port().call("ModelConfig", name=model.name).config
    over_http = probe.http.get(f"{model.path}/config").document()
    expect(found.name == model.name, f"name is '{found.name}'")
    expect(found.max_batch_size == over_http["max_batch_size"], f"max_batch_size is {found.max_batch_size}")
    expect([one.name for one in found.input] == [one["name"] for one in over_http["input"]], "other inputs")
    expect([one.name for one in found.output] == [one["name"] for one in over_http["output"]], "other outputs")


@configuration.must("configuration-of-an-unknown-model")
def _config_unknown(probe: Probe) -> None:
    """ModelConfig of a model that does not exist is NOT_FOUND."""
    _refused(probe, "ModelConfig", "NOT_FOUND", name=UNKNOWN)


@statistics.must("statistics-count")
def _statistics(probe: Probe) -> None:
    """ModelStatistics grow with a request over HTTP."""
    model = probe.batchable()

    def counted() -> int:
        found = probe.port().call("ModelStatistics", name=model.name).model_stats
        return sum(one.inference_count for one in found if one.name == model.name)

    before = counted()
    probe.answer(model, model.request(3))
    grown = counted() - before
    expect(grown >= 3, f"inference_count grew by {grown}")


@statistics.must("statistics-of-all-models")
def _all_statistics(probe: Probe) -> None:
    """ModelStatistics without a name are those of all models."""
    found = {one.name for one in probe.port().call("ModelStatistics").model_stats}
    missing = [model.name for model in probe.models if model.name not in found]
    expect(not missing, f"missing: {', '.join(missing)}")


@repository.must("index-has-what-answers")
def _index(probe: Probe) -> None:
    """RepositoryIndex has models that answer as READY."""
    ready = {one.name for one in probe.port().call("RepositoryIndex").models if one.state == "READY"}
    missing = [model.name for model in probe.models if model.name not in ready]
    expect(not missing, f"not READY: {', '.join(missing)}")


@repository.must("load-of-an-unknown-model")
def _load_unknown(probe: Probe) -> None:
    """RepositoryModelLoad of a model that does not exist is refused."""
    statuses = ("NOT_FOUND", "INVALID_ARGUMENT", "PERMISSION_DENIED", "INTERNAL", "UNAVAILABLE")
    _refused(probe, "RepositoryModelLoad", *statuses, model_name=UNKNOWN)


@repository.changing("unload-and-load")
def _unload(probe: Probe) -> None:
    """RepositoryModelUnload takes a model out, and RepositoryModelLoad brings it back."""
    model, port = probe.model(), probe.port()
    try:
        port.call("RepositoryModelUnload", model_name=model.name)
        try:
            still = port.call("ModelReady", name=model.name).ready
        except Refused:
            still = False
        expect(still is False, "ready after it was unloaded")
    finally:
        port.call("RepositoryModelLoad", model_name=model.name)
    expect(port.call("ModelReady", name=model.name).ready is True, "not ready after it was loaded")
