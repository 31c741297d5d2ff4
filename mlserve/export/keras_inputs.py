"""A Keras model with its inputs and outputs as flat lists, whatever it was called with: named, typed, sized."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from mlserve.errors import InvalidInput, Unsupported, UsageError
from mlserve.export.exporter import Arrays, Request
from mlserve.export.quieting import foreign_output
from mlserve.export.sampling import first_rows

MADE_UP_ROWS = 8
MADE_UP_LENGTH = 6
MADE_UP_VALUES = 10
"""Whole numbers are made up below this, or below the smallest vocabulary of an embedding."""

_AUTOMATIC = re.compile(r"(input_layer|keras_tensor|input)(_\d+)?")


@dataclass(frozen=True, slots=True)
class Place:
    """An input: its length on each axis after the batch, None where any will do."""

    name: str
    dims: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Flat:
    """``model`` takes and gives lists, in the order of ``places`` and ``outputs``."""

    model: Any
    places: tuple[Place, ...]
    outputs: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def has_open_axes(self) -> bool:
        return any(None in place.dims for place in self.places)

    def run(self, inputs: Arrays) -> list[np.ndarray[Any, Any]]:
        """The model's outputs for inference. Raises InvalidInput for whatever its layers raise."""
        try:
            with foreign_output():
                given = self.model([inputs[place.name] for place in self.places], training=False)
                return [np.asarray(keras.ops.convert_to_numpy(one)) for one in keras.tree.flatten(given)]
        except Exception as error:  # layers may be the user's own
            fact = str(error).strip().split("\n")[0]
            raise InvalidInput(f"the model refuses these inputs: {type(error).__name__}: {fact}") from error


def flat_model(model: Any, given: Any, request: Request) -> Flat:
    """``model`` on inputs that it declares, or else on such as ``given`` (examples) or the sample has.

    Recurrent layers are unrolled by Keras' exporter, so they get the length that the sample has. Raises UsageError,
    InvalidInput for a model that refuses its inputs, Unsupported for text and for recurrence without a length.
    """
    places = _declared(model) or _seen(given, request)
    texts = [place.name for place in places if place.dtype == "string"]
    if texts:
        raise Unsupported(
            f"the model's input '{texts[0]}' is text, which Keras cannot export",
            hint="leave out TextVectorization or StringLookup, and export what follows it",
        )
    notes: tuple[str, ...] = ()
    if any(None in place.dims for place in places) and any(isinstance(one, keras.layers.RNN) for one in _parts(model)):
        places = _sized(places, request)
        notes = ("recurrent layers are unrolled: the graph takes sequences of the sample's length only",)
    inputs = [keras.Input(place.dims, dtype=place.dtype, name=place.name) for place in places]
    try:
        with foreign_output():
            result = model(inputs if len(inputs) > 1 else inputs[0])
            flat = keras.Model(inputs, keras.tree.flatten(result))
    except Exception as error:  # layers may be the user's own
        fact = str(error).strip().split("\n")[0]
        raise InvalidInput(f"the model refuses these inputs: {type(error).__name__}: {fact}") from error
    return Flat(flat, tuple(places), _output_names(model, result), notes)


def example_inputs(flat: Flat, rows: int = MADE_UP_ROWS) -> dict[str, np.ndarray[Any, Any]]:
    """Made-up inputs that the model takes: standard normal, whole numbers that every embedding knows."""
    rng = np.random.default_rng(0)
    sizes = [part.input_dim for part in _parts(flat.model) if isinstance(part, keras.layers.Embedding)]
    below = min([MADE_UP_VALUES, *sizes])
    made = {}
    for place in flat.places:
        shape = (rows, *(MADE_UP_LENGTH if length is None else length for length in place.dims))
        values = rng.normal(size=shape) if "float" in place.dtype else rng.integers(0, below, shape)
        made[place.name] = values.astype(place.dtype)
    return made


def _declared(model: Any) -> list[Place]:
    """The inputs of a functional or built sequential model; none of one that says nothing."""
    tensors = list(getattr(model, "inputs", None) or [])
    names = _names([tensor.name for tensor in tensors])
    return [
        Place(name, tuple(tensor.shape[1:]), str(tensor.dtype)) for name, tensor in zip(names, tensors, strict=True)
    ]


def _seen(given: Any, request: Request) -> list[Place]:
    """The one input of a model that declares none, as an example or the sample has it."""
    if given is None and request.sample is None:
        raise UsageError(
            "this Keras model does not say what its inputs look like",
            hint="--sample DATA with a few rows, or let the function return (model, example inputs)",
        )
    arrays = first_rows(request) if request.sample is not None else {"input": np.asarray(given)}
    if len(arrays) > 1 and all(array.ndim == 1 for array in arrays.values()):
        return [Place("input", (len(arrays),), "float32")]
    if len(arrays) > 1:
        raise Unsupported(
            "a Keras model of several inputs has to declare them",
            hint="make it functional: keras.Model(inputs, outputs)",
        )
    ((name, array),) = arrays.items()
    kind = array.dtype.kind
    return [Place(name, array.shape[1:], "float32" if kind == "f" else "int32" if kind in "iub" else "string")]


def _names(given: Sequence[str]) -> list[str]:
    """Names that people gave; those that Keras counts up in a process would be others in the next."""
    plain = "input" if len(given) == 1 else None
    return [(plain or f"input_{index}") if _AUTOMATIC.fullmatch(name) else name for index, name in enumerate(given)]


def _output_names(model: Any, result: Any) -> tuple[str, ...]:
    if not keras.tree.is_nested(result):
        return ("output",)
    paths = [path for path, _ in keras.tree.flatten_with_path(result)]
    if isinstance(result, dict):
        return tuple("_".join(str(part) for part in path) for path in paths)
    names = getattr(model, "output_names", None) or ()
    return tuple(names) if len(names) == len(paths) else tuple(f"output_{index}" for index in range(len(paths)))


def _sized(places: Sequence[Place], request: Request) -> list[Place]:
    if request.sample is None:
        raise Unsupported(
            "the model has a recurrent layer over an axis of any length, which Keras' exporter cannot write",
            hint="--sample DATA with rows of the length that the graph shall take, or Input(shape=(LENGTH, …))",
        )
    rows = first_rows(request)
    lengths = {place.name: rows[place.name].shape[1:] if place.name in rows else place.dims for place in places}
    return [
        replace(place, dims=lengths[place.name]) if len(lengths[place.name]) == len(place.dims) else place
        for place in places
    ]


def _parts(layer: Any) -> Iterator[Any]:
    """``layer`` and all layers inside it."""
    yield layer
    inner = [*getattr(layer, "layers", ()), *(getattr(layer, name, None) for name in ("layer", "forward_layer"))]
    for part in inner:
        if isinstance(part, keras.layers.Layer):
            yield from _parts(part)
