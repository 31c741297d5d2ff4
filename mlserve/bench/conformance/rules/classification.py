"""The classification extension: an output as its best classes."""

from __future__ import annotations

import numpy as np

from mlserve.bench.conformance.probe import Probe, ProbedModel
from mlserve.bench.conformance.tensors import Tensor, numpy_type
from mlserve.bench.conformance.verdicts import Book, expect

book = Book("classification", extension="classification")


def _model(probe: Probe) -> tuple[ProbedModel, str]:
    """A model with an output of scores, and that output's name."""

    def scores(model: ProbedModel) -> list[str]:
        return [
            meta.name
            for meta in model.outputs
            if meta.datatype != "BYTES" and numpy_type(meta.datatype).is_float and len(meta.shape) == 2
        ]

    model = probe.model(lambda model: model.is_batchable and bool(scores(model)), "rows of float scores as an output")
    return model, scores(model)[0]


def _classes(probe: Probe, model: ProbedModel, name: str, count: int, rows: int = 3) -> Tensor:
    asked = [{"name": name, "parameters": {"classification": count}}]
    (found,) = probe.answer(model, model.request(rows, outputs=asked))
    return found


def _scores(probe: Probe, model: ProbedModel, name: str, rows: int = 3) -> Tensor:
    (found,) = probe.answer(model, model.request(rows, outputs=[{"name": name}]))
    return found


@book.must("classes-are-bytes")
def _bytes(probe: Probe) -> None:
    """Classes come as BYTES, of shape rows by as many as asked for."""
    model, name = _model(probe)
    width = _scores(probe, model, name).shape[1]
    found = _classes(probe, model, name, 1)
    expect(found.datatype == "BYTES", f"{found.datatype} in place of BYTES")
    expect(found.shape == [3, 1], f"shape {found.shape} in place of [3, 1]")
    whole = _classes(probe, model, name, width)
    expect(whole.shape == [3, width], f"shape {whole.shape} in place of [3, {width}]")


@book.must("class-is-value-and-index")
def _form(probe: Probe) -> None:
    """A class is a text VALUE:INDEX, with :LABEL where the model has labels."""
    model, name = _model(probe)
    for text in _classes(probe, model, name, 1).values.reshape(-1):
        value, _, rest = text.decode().partition(":")
        float(value)
        expect(rest.partition(":")[0].isdigit(), f"'{text.decode()}'")


@book.must("best-class-is-the-largest")
def _best(probe: Probe) -> None:
    """The first class of a row is that of the largest score, with its value."""
    model, name = _model(probe)
    scores = _scores(probe, model, name).values.astype(np.float64)
    for row, text in enumerate(_classes(probe, model, name, 1).values.reshape(-1)):
        value, index = text.decode().split(":")[:2]
        best = scores[row].max()
        expect(np.isclose(scores[row][int(index)], best), f"class {index} of row {row} is not the best")
        expect(np.isclose(float(value), best, rtol=1e-3, atol=1e-5), f"row {row}: {value} in place of {best:.6g}")


@book.must("classes-are-in-order")
def _order(probe: Probe) -> None:
    """Classes come best first, each once."""
    model, name = _model(probe)
    width = _scores(probe, model, name).shape[1]
    for row in _classes(probe, model, name, width).values:
        values = [float(text.decode().split(":")[0]) for text in row]
        indices = [text.decode().split(":")[1] for text in row]
        expect(values == sorted(values, reverse=True), f"values {values}")
        expect(len(set(indices)) == len(indices), f"indices {indices}")


@book.must("more-classes-than-there-are")
def _more(probe: Probe) -> None:
    """Asked for more classes than there are, gives all or refuses as the client's mistake."""
    model, name = _model(probe)
    width = _scores(probe, model, name).shape[1]
    asked = [{"name": name, "parameters": {"classification": width + 5}}]
    reply = probe.infer(model, model.request(outputs=asked))
    if reply.status != 200:
        reply.refusal()
    else:
        found = _classes(probe, model, name, width + 5)
        expect(found.shape == [3, width], f"shape {found.shape} in place of [3, {width}]")


@book.must("number-of-classes-is-a-count")
def _odd(probe: Probe) -> None:
    """Refuses a number of classes that is negative or no number, with 4xx and an error."""
    model, name = _model(probe)
    for odd in (-1, "two", 1.5):
        asked = [{"name": name, "parameters": {"classification": odd}}]
        probe.infer(model, model.request(outputs=asked)).refusal()


@book.must("classes-as-bytes-of-the-binary-extension")
def _binary(probe: Probe) -> None:
    """Classes may be asked for as bytes too, and are the same."""
    model, name = _model(probe)
    asked = [
        {"name": name, "parameters": {"classification": 1, "binary_data": "binary_tensor_data" in probe.extensions}}
    ]
    (found,) = probe.answer(model, model.request(3, outputs=asked))
    expect(found.flat() == _classes(probe, model, name, 1).flat(), f"{found.flat()}")
