"""The rules, a file a subject; ``ALL`` has them in the order in which they are put to a server."""

from __future__ import annotations

from mlserve.bench.conformance.rules import (
    adapters,
    binary,
    classification,
    compression,
    connections,
    datatypes,
    description,
    grpc_inference,
    grpc_server,
    inference,
    models,
    parameters,
    refusals,
    repository,
    server,
)
from mlserve.bench.conformance.verdicts import Rule

_BOOKS = (
    server.book,
    models.book,
    inference.book,
    refusals.book,
    datatypes.book,
    datatypes.binary_book,
    binary.book,
    parameters.book,
    parameters.schedule,
    classification.book,
    description.book,
    description.statistics,
    compression.book,
    connections.book,
    adapters.book,
    adapters.generate,
    grpc_server.book,
    grpc_server.health,
    grpc_server.configuration,
    grpc_server.statistics,
    grpc_inference.book,
    grpc_inference.datatypes,
    grpc_inference.classification,
    grpc_inference.schedule,
    grpc_inference.stream,
    repository.book,
    grpc_server.repository,
)
ALL: tuple[Rule, ...] = tuple(rule for book in _BOOKS for rule in book.rules)
