"""A model's metadata and readiness, by name and by version."""

from __future__ import annotations

from typing import Any

from mlserve.bench.conformance.probe import UNKNOWN, Probe
from mlserve.bench.conformance.tensors import numpy_type
from mlserve.bench.conformance.verdicts import Book, RuleSkipped, expect

book = Book("models")


def _found(probe: Probe) -> dict[str, Any]:
    return probe.http.get(probe.model().path).document()


def _tensors(probe: Probe) -> list[dict[str, Any]]:
    found = _found(probe)
    return [*found["inputs"], *found["outputs"]]


def _version(probe: Probe) -> str:
    """The path of a version. Raises RuleSkipped where none is named."""
    model = probe.model()
    if not model.versions:
        raise RuleSkipped("the model's metadata names no versions")
    return f"{model.path}/versions/{model.versions[-1]}"


@book.must("metadata-has-its-fields")
def _fields(probe: Probe) -> None:
    """A model's metadata has name, platform, inputs and outputs."""
    found = _found(probe)
    for field, kind in (("name", str), ("platform", str), ("inputs", list), ("outputs", list)):
        expect(isinstance(found.get(field), kind), f"'{field}' is {found.get(field)!r}")


@book.must("metadata-is-of-the-model-asked")
def _name(probe: Probe) -> None:
    """A model's metadata names the model that was asked for."""
    name = _found(probe)["name"]
    expect(name == probe.model().name, f"'{name}' in place of '{probe.model().name}'")


@book.must("tensors-have-name-datatype-shape")
def _tensor_fields(probe: Probe) -> None:
    """Each input and output in metadata has a name, a datatype and a shape."""
    for tensor in _tensors(probe):
        missing = {"name", "datatype", "shape"} - set(tensor)
        expect(not missing, f"{tensor.get('name')!r} has no {', '.join(sorted(missing))}")
        expect(isinstance(tensor["name"], str) and tensor["name"] != "", f"a tensor is called {tensor['name']!r}")


@book.must("datatypes-are-of-the-protocol")
def _datatypes(probe: Probe) -> None:
    """Datatypes in metadata are those of the protocol."""
    for tensor in _tensors(probe):
        numpy_type(tensor["datatype"])


@book.must("shapes-are-integers")
def _shapes(probe: Probe) -> None:
    """Shapes in metadata are lists of integers, −1 for a free dimension."""
    for tensor in _tensors(probe):
        fits = isinstance(tensor["shape"], list) and all(type(size) is int and size >= -1 for size in tensor["shape"])
        expect(fits, f"'{tensor['name']}' has shape {tensor['shape']!r}")


@book.should("tensor-names-are-unique")
def _unique(probe: Probe) -> None:
    """No two inputs, and no two outputs, have the same name."""
    found = _found(probe)
    for side in ("inputs", "outputs"):
        names = [tensor["name"] for tensor in found[side]]
        expect(len(set(names)) == len(names), f"{side} are called {', '.join(names)}")


@book.must("versions-are-text")
def _versions(probe: Probe) -> None:
    """Versions in metadata, where there are any, are a list of texts."""
    found = _found(probe).get("versions")
    fits = found is None or (isinstance(found, list) and all(isinstance(one, str) for one in found))
    expect(fits, f"'versions' is {found!r}")


@book.must("ready-is-200")
def _ready(probe: Probe) -> None:
    """The ready path of a model that answers is 200."""
    probe.http.get(f"{probe.model().path}/ready").expect(200)


@book.must("version-has-the-same-tensors")
def _version_metadata(probe: Probe) -> None:
    """The path of a version gives that version's metadata."""
    found, whole = probe.http.get(_version(probe)).document(), _found(probe)
    expect(found["name"] == whole["name"], f"'{found['name']}' in place of '{whole['name']}'")
    if len(probe.model().versions) == 1:
        expect(found["inputs"] == whole["inputs"], "its inputs are others than the model's")
        expect(found["outputs"] == whole["outputs"], "its outputs are others than the model's")


@book.must("version-ready-is-200")
def _version_ready(probe: Probe) -> None:
    """The ready path of a version that answers is 200."""
    probe.http.get(f"{_version(probe)}/ready").expect(200)


@book.must("unknown-model-is-refused")
def _unknown(probe: Probe) -> None:
    """The metadata of a model that does not exist is refused with an error."""
    probe.http.get(f"/v2/models/{UNKNOWN}").refusal()


@book.must("unknown-model-is-not-ready")
def _unknown_ready(probe: Probe) -> None:
    """A model that does not exist is not ready."""
    status = probe.http.get(f"/v2/models/{UNKNOWN}/ready").status
    expect(400 <= status < 600, f"{status} for a model that does not exist")


@book.should("unknown-model-is-404")
def _unknown_404(probe: Probe) -> None:
    """A model that does not exist is 404, whatever is asked of it."""
    probe.http.get(f"/v2/models/{UNKNOWN}").expect(404)
    probe.http.post(f"/v2/models/{UNKNOWN}/infer", probe.model().request()).expect(404)


@book.must("unknown-version-is-refused")
def _unknown_version(probe: Probe) -> None:
    """The metadata of a version that does not exist is refused with an error."""
    probe.http.get(f"{probe.model().path}/versions/987654321").refusal()


@book.must("unknown-version-is-not-ready")
def _unknown_version_ready(probe: Probe) -> None:
    """A version that does not exist is not ready."""
    status = probe.http.get(f"{probe.model().path}/versions/987654321/ready").status
    expect(400 <= status < 600, f"{status} for a version that does not exist")


@book.should("odd-version-is-refused")
def _odd_version(probe: Probe) -> None:
    """A version that is no number is refused with an error."""
    probe.http.get(f"{probe.model().path}/versions/one%20two").refusal()


@book.should("names-may-be-percent-encoded")
def _encoded(probe: Probe) -> None:
    """A model's name in a path may be percent-encoded, as clients send it."""
    name = probe.model().name
    encoded = "".join(f"%{byte:02X}" for byte in name.encode())
    expect(probe.http.get(f"/v2/models/{encoded}").document()["name"] == name, "another model")
