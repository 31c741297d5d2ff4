"""What rules look through: the ports of a server and the models that answer there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from mlserve.bench.conformance.calls import GrpcPort
from mlserve.bench.conformance.exchange import HttpPort, Reply
from mlserve.bench.conformance.tensors import Meta, Tensor, json_request, made_up, outputs_of
from mlserve.bench.conformance.verdicts import RuleBroken, RuleSkipped
from mlserve.errors import InvalidInput, NotFound, Unauthenticated

UNKNOWN = "no-such-model-of-this-server"


@dataclass(frozen=True, slots=True)
class ProbedModel:
    """A model that answers: its metadata, and how it takes rows.

    ``is_batchable``: the first dimension of all inputs is free, and two rows are answered by two. ``given`` are tensors
    that the user gave, for models that refuse what is made up.
    """

    name: str
    versions: tuple[str, ...]
    inputs: tuple[Meta, ...]
    outputs: tuple[Meta, ...]
    is_batchable: bool = False
    given: tuple[Tensor, ...] = ()

    @property
    def path(self) -> str:
        return f"/v2/models/{quote(self.name, safe='')}"

    def rows(self, count: int = 1) -> list[Tensor]:
        """A request's inputs: ``count`` rows where the model has rows."""
        return list(self.given) or [made_up(meta, count) for meta in self.inputs]

    def request(self, count: int = 1, **more: Any) -> dict[str, Any]:
        """A JSON request that the model takes, with further fields."""
        return json_request(self.rows(count), **more)


@dataclass(frozen=True, slots=True)
class Probe:
    """A server under test. ``patience_s``: how long a model may take to be loaded or unloaded."""

    http: HttpPort
    grpc: GrpcPort | None
    extensions: frozenset[str]
    models: tuple[ProbedModel, ...]
    server: Mapping[str, Any] = field(default_factory=dict)
    patience_s: float = 60.0

    def model(self, fits: Callable[[ProbedModel], bool] | None = None, needs: str = "") -> ProbedModel:
        """The first model that ``fits``. Raises RuleSkipped with what a model ``needs``."""
        for model in self.models:
            if fits is None or fits(model):
                return model
        raise RuleSkipped(f"needs a model with {needs}" if needs and self.models else "no model answers")

    def batchable(self) -> ProbedModel:
        return self.model(lambda model: model.is_batchable, "a free number of rows")

    def taking(self, *datatypes: str) -> tuple[ProbedModel, int]:
        """A model with an input of one of the datatypes, and that input's place."""
        model = self.model(
            lambda model: any(meta.datatype in datatypes for meta in model.inputs),
            f"an input of {' or '.join(datatypes)}",
        )
        return model, next(at for at, meta in enumerate(model.inputs) if meta.datatype in datatypes)

    def giving(self, count: int) -> ProbedModel:
        return self.model(lambda model: len(model.outputs) >= count, f"{count} outputs")

    def infer(
        self, model: ProbedModel, request: Mapping[str, Any] | bytes, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """The reply to an inference request, as JSON unless it is bytes already."""
        return self.http.post(f"{model.path}/infer", request, headers)

    def answer(
        self, model: ProbedModel, request: Mapping[str, Any] | bytes, headers: Mapping[str, str] | None = None
    ) -> list[Tensor]:
        """The outputs of an inference request. Raises RuleBroken."""
        return outputs_of(self.infer(model, request, headers))

    def port(self) -> GrpcPort:
        """The gRPC side. Raises RuleSkipped where none was given."""
        if self.grpc is None:
            raise RuleSkipped("needs the address of the gRPC port (--grpc)")
        return self.grpc


def same(left: Sequence[Tensor], right: Sequence[Tensor], what: str) -> None:
    """Raises RuleBroken unless both are the same outputs."""
    names = [tensor.name for tensor in left], [tensor.name for tensor in right]
    if names[0] != names[1]:
        raise RuleBroken(f"{what}: outputs {names[0]} and {names[1]}")
    for one, other in zip(left, right, strict=True):
        if not one.is_close(other):
            raise RuleBroken(f"{what}: output '{one.name}' is {_shown(one)} and {_shown(other)}")


def discovered(
    http: HttpPort, grpc: GrpcPort | None = None, only: Sequence[str] = (), given: Sequence[Tensor] = ()
) -> Probe:
    """The server at ``http`` with those of its models that answer; ``only`` these where named.

    Raises Unavailable where nobody listens, Unauthenticated where a key is asked for, InvalidInput where no Open
    Inference Protocol is spoken, and NotFound for a model that was named and is not there.
    """
    try:
        reply = http.get("/v2")
        if reply.status in (401, 403):
            raise Unauthenticated(f"{http.url} asks for an API key", hint="--api-key-file FILE")
        server = reply.document()
    except RuleBroken as error:
        raise InvalidInput(f"{http.url} does not speak the Open Inference Protocol: GET /v2 gave {error}") from None
    extensions = server.get("extensions")
    answering = []
    for name in only or _listed(http):
        model = _look(http, name, tuple(given) if only else ())
        if model is None and only:
            raise NotFound(f"{http.url} has no model '{name}' that says what it takes")
        tried = _tried(http, model) if model is not None else None
        if tried is not None:
            answering.append(tried)
    answering.sort(key=lambda model: (not model.is_batchable, len(model.inputs)))
    names = frozenset(extensions) if isinstance(extensions, list) else frozenset()
    return Probe(http, grpc, names, tuple(answering), server)


def _listed(http: HttpPort) -> list[str]:
    """The models that the server tells of: by its repository's index, or by the list that some servers have."""
    index = "/v2/repository/index"
    for method, path, body in (("POST", index, b""), ("POST", index, b"{}"), ("GET", "/v2/models", None)):
        try:
            found = http.ask(method, path, body).expect(200).json()
        except RuleBroken:
            continue
        entries = found.get("models") if isinstance(found, dict) else found
        names = [entry.get("name") if isinstance(entry, dict) else entry for entry in entries or ()]
        return list(dict.fromkeys(name for name in names if isinstance(name, str)))
    return []


def _look(http: HttpPort, name: str, given: tuple[Tensor, ...]) -> ProbedModel | None:
    """A model by its metadata, None where that cannot be read."""
    try:
        found = http.get(f"/v2/models/{quote(name, safe='')}").document()
        versions = tuple(map(str, found.get("versions") or ()))
        return ProbedModel(name, versions, _metas(found, "inputs"), _metas(found, "outputs"), False, given)
    except (RuleBroken, KeyError, TypeError, AttributeError):
        return None


def _metas(found: Mapping[str, Any], side: str) -> tuple[Meta, ...]:
    return tuple(Meta(one["name"], one["datatype"], tuple(map(int, one["shape"]))) for one in found[side])


def _tried(http: HttpPort, model: ProbedModel) -> ProbedModel | None:
    """The model with what it does with rows, None where it refuses what is made up for it."""
    try:
        if not outputs_of(http.post(f"{model.path}/infer", model.request())):
            return None
    except RuleBroken:
        return None
    if model.given or not model.inputs or any(meta.shape[:1] != (-1,) for meta in model.inputs):
        return model
    try:
        two = outputs_of(http.post(f"{model.path}/infer", model.request(2)))
    except RuleBroken:
        return model
    rows = all(tensor.shape[:1] == [2] for tensor in two)
    return ProbedModel(model.name, model.versions, model.inputs, model.outputs, is_batchable=rows)


def _shown(tensor: Tensor) -> str:
    values = tensor.flat() if tensor.datatype != "BYTES" else [repr(value) for value in tensor.values.reshape(-1)]
    listed = ", ".join(map(str, values[:4]))
    return f"{tensor.datatype}{tensor.shape} [{listed}{', …' if len(values) > 4 else ''}]"
