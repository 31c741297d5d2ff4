"""Rows as columns to be watched: each scalar feature as it is, and of texts, tensors and images a few facets each.

    x (rows, 3)           ─► amount, age, plan
    comment (rows,) text  ─► comment.length, comment.words, comment.other_share
    image (rows, 3, h, w) ─► image.brightness, image.contrast, image.sharpness, image.aspect
    tokens (rows, n)      ─► tokens.mean, tokens.norm, tokens.spread

A facet is null (NaN) where its feature is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from mlserve.compare.kinds import as_comparable
from mlserve.core.dtypes import DType
from mlserve.drift.schema import CHANNELS, DriftSchema, Feature, Kind
from mlserve.rows.tables import Array

_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Column:
    """What is summarised under ``name``: a feature, or one facet of it; ``is_categorical`` says by counts of values."""

    name: str
    feature: str
    facet: str | None
    is_categorical: bool


def columns_of(schema: DriftSchema) -> list[Column]:
    """Every column of the features of ``schema``, in order."""
    found = []
    for feature in schema.features:
        if feature.kind.is_scalar:
            found.append(Column(feature.name, feature.name, None, feature.kind is Kind.CATEGORICAL))
        else:
            facets = _FACETS[feature.kind]
            found += [Column(f"{feature.name}.{facet}", feature.name, facet, False) for facet in facets]
    return found


def split(schema: DriftSchema, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The columns of rows given as inputs: (rows,) each, numbers, text as objects with None for a null.

    Inputs that are not there, or that have too few columns, have no columns in the answer.
    """
    columns: dict[str, Array] = {}
    turned: dict[str, Array] = {}
    for feature in schema.features:
        array = inputs.get(feature.input)
        if array is None or not array.ndim:
            continue
        if feature.column is not None and array.ndim == 2:
            # One pass over the block: a strided copy for each column costs twice as much.
            if feature.input not in turned:
                turned[feature.input] = np.ascontiguousarray(_plain(array).T)
            if feature.column < array.shape[1]:
                columns[feature.name] = turned[feature.input][feature.column]
        elif feature.kind.is_scalar:
            columns[feature.name] = _plain(array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array)
        else:
            columns |= facets_of(feature, array)
    return columns


def stack(schema: DriftSchema, columns: Mapping[str, Array], feature_input: str) -> Array | None:
    """The 2-D input ``feature_input`` (rows, features) out of ``columns`` by name, in the model's element type.

    None where a column is missing. The inverse of ``split``.
    """
    names = schema.names[feature_input]
    if not all(name in columns for name in names):
        return None
    ones = [one for one in (*schema.features, *schema.ignored) if one.input == feature_input]
    return np.stack([columns[name] for name in names], axis=1).astype(ones[0].datatype.numpy)


def facets_of(feature: Feature, array: Array) -> dict[str, Array]:
    """The facets of a text, tensor or image feature: (rows,) float64 each, by the column's name."""
    measured = _MEASURES[feature.kind](_plain(array) if feature.datatype is not DType.STRING else array)
    return {f"{feature.name}.{facet}": values for facet, values in measured.items()}


def _plain(array: Array) -> Array:
    """Numbers in a type that numpy itself has; text and booleans as they are."""
    if array.dtype.kind in "OSU":
        return array
    return as_comparable(array) if array.dtype.kind == "V" else array


def _of_texts(array: Array) -> dict[str, Array]:
    """Characters, words, and the share of characters that are not ASCII letters, digits, spaces or punctuation.

    Of several texts a row, they are of all of them together.
    """
    texts = [_joined(row) for row in array.tolist()]
    lengths = np.array([np.nan if text is None else len(text) for text in texts], np.float64)
    words = np.array([np.nan if text is None else len(_WORD.findall(text)) for text in texts], np.float64)
    others = [np.nan if text is None else sum(not character.isascii() for character in text) for text in texts]
    return {"length": lengths, "words": words, "other_share": np.array(others) / np.maximum(lengths, 1.0)}


def _joined(row: object) -> str | None:
    if isinstance(row, list):
        parts = [text for part in row if (text := _joined(part)) is not None]
        return " ".join(parts) if parts else None
    return None if row is None else str(row)


def _of_tensors(array: Array) -> dict[str, Array]:
    flat = array.reshape(len(array), -1).astype(np.float64)
    if not flat.shape[1]:
        nothing = np.full(len(flat), np.nan)
        return {"mean": nothing, "norm": nothing, "spread": nothing}
    return {"mean": flat.mean(axis=1), "norm": np.sqrt((flat * flat).sum(axis=1)), "spread": flat.std(axis=1)}


def _of_images(array: Array) -> dict[str, Array]:
    """Mean and standard deviation of the grey values, the variance of their Laplacian, and width over height."""
    grey = _grey(array.astype(np.float32))
    rows, height, width = grey.shape
    inner = grey[:, 1:-1, 1:-1]
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    edges = (around - 4 * inner).reshape(rows, -1)
    flat = grey.reshape(rows, -1)
    return {
        "brightness": flat.mean(axis=1, dtype=np.float64),
        "contrast": flat.std(axis=1, dtype=np.float64),
        "sharpness": edges.var(axis=1, dtype=np.float64) if edges.shape[1] else np.zeros(rows),
        "aspect": np.full(rows, width / height),
    }


def _grey(images: Array) -> Array:
    """(rows, height, width), whichever side the channels are on."""
    if images.ndim == 3:
        return images
    axis = 1 if images.shape[1] in CHANNELS else 3
    grey: Array = images.mean(axis=axis)
    return grey


_MEASURES: dict[Kind, Callable[[Array], dict[str, Array]]] = {
    Kind.TEXT: _of_texts,
    Kind.TENSOR: _of_tensors,
    Kind.IMAGE: _of_images,
}
_FACETS: dict[Kind, tuple[str, ...]] = {
    Kind.TEXT: ("length", "words", "other_share"),
    Kind.TENSOR: ("mean", "norm", "spread"),
    Kind.IMAGE: ("brightness", "contrast", "sharpness", "aspect"),
}
