"""The model repository extension: what there is, loading and unloading."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

from mlserve.bench.conformance.probe import UNKNOWN, Probe
from mlserve.bench.conformance.verdicts import Book, RuleBroken, expect

book = Book("repository", extension="model_repository")

STATES = ("READY", "UNAVAILABLE", "LOADING", "UNLOADING", "UNKNOWN")


def _index(probe: Probe, body: Any = b"") -> list[dict[str, Any]]:
    found = probe.http.post("/v2/repository/index", body).expect(200).json()
    if not isinstance(found, list):
        raise RuleBroken(f"a JSON {type(found).__name__} in place of an array")
    return found


@book.must("index-is-an-array")
def _array(probe: Probe) -> None:
    """The index is a bare JSON array of objects, as clients read it."""
    expect(all(isinstance(one, dict) for one in _index(probe)), "an entry is no object")


@book.must("index-takes-an-empty-body")
def _empty(probe: Probe) -> None:
    """The index is given for an empty body and for an empty object."""
    expect(_names(_index(probe)) == _names(_index(probe, {})), "two different indices")


@book.must("index-entries-have-names-and-states")
def _fields(probe: Probe) -> None:
    """Entries have a name and, where there is a version, it is a text and has a known state."""
    for entry in _index(probe):
        expect(isinstance(entry.get("name"), str), f"'name' is {entry.get('name')!r}")
        if "version" in entry:
            expect(isinstance(entry["version"], str), f"'version' is {entry['version']!r}")
        if "state" in entry:
            expect(entry["state"] in STATES, f"'state' is {entry['state']!r}")


@book.must("index-has-what-answers")
def _has(probe: Probe) -> None:
    """Models that answer are in the index as READY."""
    ready = _names([one for one in _index(probe) if one.get("state") == "READY"])
    missing = [model.name for model in probe.models if model.name not in ready]
    expect(not missing, f"not READY: {', '.join(missing)}")


@book.must("index-of-what-is-ready")
def _ready(probe: Probe) -> None:
    """With {"ready": true} the index has only what is READY."""
    found = _index(probe, {"ready": True})
    odd = [one["name"] for one in found if one.get("state", "READY") != "READY"]
    expect(not odd, f"not READY: {', '.join(odd)}")
    expect({model.name for model in probe.models} <= set(_names(found)), "a model that answers is missing")


@book.must("index-refuses-what-is-no-json")
def _odd(probe: Probe) -> None:
    """Refuses an index request that is not JSON, with 4xx and an error."""
    probe.http.post("/v2/repository/index", b"{").refusal()


@book.must("load-of-an-unknown-model")
def _load_unknown(probe: Probe) -> None:
    """Refuses to load a model that does not exist, with 4xx and an error."""
    probe.http.post(f"/v2/repository/models/{UNKNOWN}/load").refusal()


@book.changing("load-again")
def _load_again(probe: Probe) -> None:
    """A loaded model may be loaded again, with an empty body, and answers afterwards."""
    model = probe.model()
    probe.http.post(f"/v2/repository/models/{quote(model.name, safe='')}/load").expect(200)
    probe.infer(model, model.request()).expect(200)


@book.changing("unload-and-load")
def _unload(probe: Probe) -> None:
    """A model that is unloaded answers nothing and is not READY in the index; loaded again it answers."""
    model = probe.model()
    path = f"/v2/repository/models/{quote(model.name, safe='')}"
    try:
        probe.http.post(f"{path}/unload").expect(200)
        deadline = time.monotonic() + probe.patience_s
        while probe.http.get(f"{model.path}/ready").status == 200:
            expect(time.monotonic() < deadline, "still ready long after it was unloaded")
            time.sleep(0.05)
        status = probe.infer(model, model.request()).status
        expect(400 <= status < 600, f"{status} from a model that is unloaded")
        states = [one.get("state") for one in _index(probe) if one["name"] == model.name]
        expect("READY" not in states, f"states {states} of a model that is unloaded")
    finally:
        probe.http.post(f"{path}/load").expect(200)
    deadline = time.monotonic() + probe.patience_s
    while probe.http.get(f"{model.path}/ready").status != 200:
        expect(time.monotonic() < deadline, "not ready long after it was loaded")
        time.sleep(0.05)
    probe.infer(model, model.request()).expect(200)


@book.changing("unload-with-dependents")
def _dependents(probe: Probe) -> None:
    """Unloading takes the parameter unload_dependents."""
    model = probe.model()
    path = f"/v2/repository/models/{quote(model.name, safe='')}"
    try:
        probe.http.post(f"{path}/unload", {"parameters": {"unload_dependents": True}}).expect(200)
    finally:
        probe.http.post(f"{path}/load").expect(200)
    probe.infer(model, model.request()).expect(200)


def _names(index: list[dict[str, Any]]) -> list[str]:
    return sorted(one["name"] for one in index)
