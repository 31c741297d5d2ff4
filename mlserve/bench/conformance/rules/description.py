"""The model configuration and statistics extensions."""

from __future__ import annotations

import time
from typing import Any

from mlserve.bench.conformance.probe import UNKNOWN, Probe, ProbedModel
from mlserve.bench.conformance.verdicts import Book, RuleBroken, expect

book = Book("configuration", extension="model_configuration")
statistics = Book("statistics", extension="statistics")

_COUNTERS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
_TYPES = {"BYTES": "TYPE_STRING"}


def _config(probe: Probe) -> dict[str, Any]:
    return probe.http.get(f"{probe.model().path}/config").document()


@book.must("has-name-and-batch-size")
def _fields(probe: Probe) -> None:
    """The configuration has the model's name and a max_batch_size of 0 or more."""
    found = _config(probe)
    expect(found.get("name") == probe.model().name, f"'name' is {found.get('name')!r}")
    size = found.get("max_batch_size")
    expect(type(size) is int and size >= 0, f"'max_batch_size' is {size!r}")


@book.must("lists-inputs-and-outputs")
def _tensors(probe: Probe) -> None:
    """The configuration lists the inputs and outputs of the metadata, with data_type and dims."""
    found, model = _config(probe), probe.model()
    for side, metas in (("input", model.inputs), ("output", model.outputs)):
        entries = {entry["name"]: entry for entry in found[side]}
        expect(set(entries) == {meta.name for meta in metas}, f"'{side}' is of {', '.join(entries)}")
        for meta in metas:
            wanted = _TYPES.get(meta.datatype, f"TYPE_{meta.datatype}")
            kind = entries[meta.name]["data_type"]
            expect(kind == wanted, f"'{meta.name}' is {kind}, and {wanted} by its metadata")


@book.must("dims-are-those-of-the-metadata")
def _dims(probe: Probe) -> None:
    """The configuration's dims are the metadata's shape, without the dimension of rows if max_batch_size is not 0."""
    found, model = _config(probe), probe.model()
    skipped = 1 if found["max_batch_size"] else 0
    for side, metas in (("input", model.inputs), ("output", model.outputs)):
        entries = {entry["name"]: [int(size) for size in entry["dims"]] for entry in found[side]}
        for meta in metas:
            wanted = list(meta.shape[skipped:])
            # A tensor of rows alone is one of rows of one element.
            fits = entries[meta.name] == wanted or (not wanted and entries[meta.name] == [1])
            expect(fits, f"'{meta.name}' has dims {entries[meta.name]}, and {wanted} by its metadata")


@book.must("of-a-version")
def _version(probe: Probe) -> None:
    """A version has a configuration of its own path."""
    model = probe.model(lambda model: len(model.versions) > 0, "versions in its metadata")
    found = probe.http.get(f"{model.path}/versions/{model.versions[-1]}/config").document()
    expect(found.get("name") == model.name, f"'name' is {found.get('name')!r}")


@book.must("of-an-unknown-model")
def _unknown(probe: Probe) -> None:
    """Refuses the configuration of a model that does not exist, with 4xx and an error."""
    probe.http.get(f"/v2/models/{UNKNOWN}/config").refusal()


def _stats(probe: Probe, model: ProbedModel) -> dict[str, Any]:
    """The statistics of the model's last version."""
    found = probe.http.get(f"{model.path}/stats").document()["model_stats"]
    entries = [one for one in found if one["name"] == model.name]
    if not entries:
        raise RuleBroken(f"no statistics of '{model.name}'")
    version = model.versions[-1] if model.versions else entries[-1]["version"]
    return dict(next((one for one in entries if one["version"] == version), entries[-1]))


@statistics.must("of-all-models")
def _all(probe: Probe) -> None:
    """GET /v2/models/stats has an entry for each model that answers."""
    found = {one["name"] for one in probe.http.get("/v2/models/stats").document()["model_stats"]}
    missing = [model.name for model in probe.models if model.name not in found]
    expect(not missing, f"missing: {', '.join(missing)}")


@statistics.must("have-their-fields")
def _stats_fields(probe: Probe) -> None:
    """An entry has name, version, last_inference, inference_count and execution_count; the counts are integers."""
    found = _stats(probe, probe.model())
    expect(isinstance(found["version"], str), f"'version' is {found['version']!r}")
    for field in ("last_inference", "inference_count", "execution_count"):
        expect(type(found.get(field)) is int and found[field] >= 0, f"'{field}' is {found.get(field)!r}")


@statistics.must("durations-are-count-and-ns")
def _durations(probe: Probe) -> None:
    """Each duration in inference_stats has an integer count and ns."""
    found = _stats(probe, probe.model())["inference_stats"]
    for name in _COUNTERS:
        duration = found.get(name)
        fits = isinstance(duration, dict) and type(duration.get("count")) is int and type(duration.get("ns")) is int
        expect(fits, f"'{name}' is {duration!r}")


@statistics.must("count-requests-and-rows")
def _counts(probe: Probe) -> None:
    """A request of three rows adds at least one success, one run, and three to inference_count."""
    model = probe.batchable()
    before = _stats(probe, model)
    probe.answer(model, model.request(3))
    after = _stats(probe, model)
    added = {
        "success": after["inference_stats"]["success"]["count"] - before["inference_stats"]["success"]["count"],
        "execution_count": after["execution_count"] - before["execution_count"],
        "inference_count": after["inference_count"] - before["inference_count"],
    }
    for field, least in (("success", 1), ("execution_count", 1), ("inference_count", 3)):
        expect(added[field] >= least, f"'{field}' grew by {added[field]}")


@statistics.must("time-grows")
def _time(probe: Probe) -> None:
    """A request adds to the nanoseconds of success and compute_infer."""
    model = probe.model()
    before = _stats(probe, model)["inference_stats"]
    probe.answer(model, model.request())
    after = _stats(probe, model)["inference_stats"]
    for name in ("success", "compute_infer"):
        expect(after[name]["ns"] > before[name]["ns"], f"'{name}' stays at {after[name]['ns']} ns")


@statistics.must("last-inference-is-now")
def _last(probe: Probe) -> None:
    """last_inference is the time of the last request in milliseconds since 1970."""
    model = probe.model()
    probe.answer(model, model.request())
    away = time.time() * 1e3 - _stats(probe, model)["last_inference"]
    # Clocks of two machines may be a while apart; another unit is not.
    expect(abs(away) < 86_400_000, f"{away / 1e3:.0f} s from now")


@statistics.must("batches-have-sizes")
def _batches(probe: Probe) -> None:
    """batch_stats lists batch sizes with durations."""
    model = probe.model()
    probe.answer(model, model.request())
    found = _stats(probe, model)["batch_stats"]
    expect(isinstance(found, list) and bool(found), f"'batch_stats' is {found!r}")
    for entry in found:
        expect(type(entry["batch_size"]) is int and entry["batch_size"] > 0, f"a batch of {entry['batch_size']!r}")
        expect(type(entry["compute_infer"]["count"]) is int, f"'compute_infer' is {entry['compute_infer']!r}")


@statistics.must("of-a-version")
def _stats_version(probe: Probe) -> None:
    """The statistics of a version are of that version alone."""
    model = probe.model(lambda model: len(model.versions) > 0, "versions in its metadata")
    found = probe.http.get(f"{model.path}/versions/{model.versions[-1]}/stats").document()["model_stats"]
    named = [(one["name"], one["version"]) for one in found]
    expect(named == [(model.name, model.versions[-1])], f"entries {named}")


@statistics.must("of-an-unknown-model")
def _stats_unknown(probe: Probe) -> None:
    """Refuses the statistics of a model that does not exist, with 4xx and an error."""
    probe.http.get(f"/v2/models/{UNKNOWN}/stats").refusal()
