"""The server as a whole: what it says of itself, its health, and what it says to requests that lead nowhere."""

from __future__ import annotations

from mlserve.bench.conformance.probe import Probe
from mlserve.bench.conformance.verdicts import Book, expect

book = Book("server")

KNOWN_EXTENSIONS = frozenset(
    (
        "binary_tensor_data",
        "classification",
        "cuda_shared_memory",
        "generate",
        "logging",
        "model_configuration",
        "model_repository",
        "model_repository(unload_dependents)",
        "parameters",
        "schedule_policy",
        "sequence",
        "statistics",
        "system_shared_memory",
        "trace",
    )
)


@book.must("metadata-has-name-version-extensions")
def _metadata(probe: Probe) -> None:
    """GET /v2 answers with the server's name, its version and a list of its extensions."""
    found = probe.http.get("/v2").document()
    for field in ("name", "version"):
        expect(isinstance(found.get(field), str) and found[field] != "", f"'{field}' is {found.get(field)!r}")
    extensions = found.get("extensions")
    expect(
        isinstance(extensions, list) and all(isinstance(one, str) for one in extensions),
        f"'extensions' is {extensions!r}",
    )


@book.should("metadata-is-json")
def _metadata_type(probe: Probe) -> None:
    """Metadata comes with Content-Type application/json."""
    found = probe.http.get("/v2").expect(200).headers.get("content-type", "")
    expect(found.startswith("application/json"), f"Content-Type is '{found}'")


@book.should("extensions-have-known-names")
def _extensions(probe: Probe) -> None:
    """Extensions are called as the protocol's documents call them, and each but once."""
    found = probe.http.get("/v2").document()["extensions"]
    unknown = [one for one in found if one not in KNOWN_EXTENSIONS]
    expect(not unknown, f"unknown: {', '.join(unknown)}")
    expect(len(set(found)) == len(found), "an extension is listed twice")


@book.must("live-is-200")
def _live(probe: Probe) -> None:
    """GET /v2/health/live is 200 while the server answers."""
    probe.http.get("/v2/health/live").expect(200)


@book.must("ready-is-200")
def _ready(probe: Probe) -> None:
    """GET /v2/health/ready is 200 when models answer."""
    probe.http.get("/v2/health/ready").expect(200)


@book.should("unknown-path-is-404")
def _unknown_path(probe: Probe) -> None:
    """A path that leads nowhere is 404."""
    probe.http.get("/v2/no/such/path").expect(404)
    probe.http.get("/no-such-path").expect(404)


@book.should("unknown-path-has-an-error")
def _unknown_path_error(probe: Probe) -> None:
    """A path that leads nowhere is answered with a JSON object with 'error', which clients show."""
    probe.http.get("/v2/no/such/path").refusal()


@book.should("wrong-method-is-405")
def _wrong_method(probe: Probe) -> None:
    """A path that exists is 405 for a method that it does not take."""
    probe.http.post("/v2/health/live").expect(405)
    probe.http.get(f"{probe.model().path}/infer").expect(405)


@book.should("query-is-ignored")
def _query(probe: Probe) -> None:
    """A query behind a path changes nothing."""
    probe.http.get("/v2/health/live?verbose=1&x=%20").expect(200)
    expect(probe.http.get("/v2?a=b").document()["name"] == probe.server["name"], "another answer with a query")
