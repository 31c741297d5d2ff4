"""What is watched of a version: each feature with its kind, and the columns of the data that play a role.

    signature + reference ──(auto)──► DriftSchema ──► columns (``columns``), summaries, findings
            schema.toml ──(Said)──────────┘

A 2-D input of F columns is F features: named by the reference's columns, by the schema file, else ``x[0]``, ``x[1]``….
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from mlserve.core.dtypes import DType
from mlserve.core.refs import did_you_mean
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.drift.said import Said, SaidFeature
from mlserve.errors import InvalidConfig, InvalidInput
from mlserve.rows.tables import Array

MAX_FEATURES = 2048
"""A wider 2-D input is one tensor: nobody reads a table of so many features, or can tell which matter."""

CODED_VALUES = 12
"""Whole numbers of so few values in a float column are taken for codes of categories, if each comes often enough."""
COUNTED_VALUES = 24
"""The same for a column of integers."""
TEXT_VALUES = 1000
"""Text of more values, or of more than half as many as there are rows, is text and not a category."""
ROWS_A_VALUE = 20
RESERVED = "prediction."
"""What the columns of predictions begin with, beside those of features."""
CHANNELS = (1, 3, 4)
MIN_SIDE = 8
"""Both sides of an image have at least so many pixels."""


class Kind(StrEnum):
    """What a feature's values are, and with that what is measured of them."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"
    TEXT = "text"
    TENSOR = "tensor"
    IMAGE = "image"

    @property
    def is_scalar(self) -> bool:
        """Whether a row has one value, summarised as it is, rather than by its facets."""
        return self in (Kind.NUMERIC, Kind.CATEGORICAL)


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing that is watched: all of the input ``input``, or its ``column`` (from 0).

    ``low``, ``high``, ``categories`` and ``is_nullable`` are what the user allows; None where the reference is to say.
    ``importance`` weighs a finding's severity: 0 to 1, None where unknown.
    """

    name: str
    kind: Kind
    input: str
    column: int | None
    datatype: DType
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] | None = None
    is_nullable: bool | None = None
    importance: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind.value,
            "input": self.input,
            "column": self.column,
            "datatype": self.datatype.value,
            "low": self.low,
            "high": self.high,
            "categories": None if self.categories is None else list(self.categories),
            "is_nullable": self.is_nullable,
            "importance": self.importance,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Feature:
        """The inverse of ``to_dict``. Raises InvalidInput."""
        try:
            known = {name: fields[name] for name in ("low", "high", "is_nullable", "importance")}
            return cls(
                name=str(fields["name"]),
                kind=Kind(fields["kind"]),
                input=str(fields["input"]),
                column=fields["column"],
                datatype=DType(fields["datatype"]),
                categories=None if fields["categories"] is None else tuple(fields["categories"]),
                **known,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"not a feature: {fields!r}") from error


@dataclass(frozen=True, slots=True)
class DriftSchema:
    """The features in the order of the signature, and where label, time, key and group stand in data files.

    ``score`` is the output whose distribution is watched, None where the first that decides is. ``ignored`` are the
    features that are fed to the model and not watched.
    """

    features: tuple[Feature, ...]
    label: str = "label"
    time: str = "time"
    key: str = "key"
    group: str = "group"
    score: str | None = None
    ignored: tuple[Feature, ...] = ()

    def feature(self, name: str) -> Feature:
        """The feature called ``name``. Raises InvalidInput naming the nearest."""
        for feature in self.features:
            if feature.name == name:
                return feature
        raise InvalidInput(f"no feature '{name}'", hint=did_you_mean(name, [one.name for one in self.features]))

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """The names of each 2-D input's features in order, of inputs that are spread over features."""
        found: dict[str, list[Feature]] = {}
        for feature in (*self.features, *self.ignored):
            if feature.column is not None:
                found.setdefault(feature.input, []).append(feature)
        ordered = {name: sorted(ones, key=lambda one: one.column or 0) for name, ones in found.items()}
        return {name: tuple(one.name for one in ones) for name, ones in ordered.items()}

    def to_dict(self) -> dict[str, Any]:
        return {
            "features": [feature.to_dict() for feature in self.features],
            "label": self.label,
            "time": self.time,
            "key": self.key,
            "group": self.group,
            "score": self.score,
            "ignored": [feature.to_dict() for feature in self.ignored],
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> DriftSchema:
        """The inverse of ``to_dict``. Raises InvalidInput."""
        try:
            roles = {role: fields[role] for role in ("label", "time", "key", "group", "score")}
            features = tuple(Feature.from_dict(one) for one in fields["features"])
            ignored = tuple(Feature.from_dict(one) for one in fields["ignored"])
            return cls(features=features, ignored=ignored, **roles)
        except (KeyError, TypeError) as error:
            raise InvalidInput(f"not a drift schema: {fields!r}") from error


def derive_schema(
    signature: Signature,
    sample: Mapping[str, Array],
    *,
    names: Mapping[str, Sequence[str]] | None = None,
    said: Said | None = None,
) -> DriftSchema:
    """The schema of ``signature``, kinds guessed from ``sample`` unless they are ``said``.

    ``sample`` is some of the reference's rows by input, rows on axis 0; ``names`` the names of a 2-D input's columns as
    the reference has them. Raises InvalidConfig where what is said does not fit the signature, InvalidInput where two
    features would have one name.
    """
    said = said or Said()
    _check_inputs(said, signature)
    found: list[Feature] = []
    for spec in signature.inputs:
        if not spec.dims or spec.dtype in (DType.COMPLEX64, DType.COMPLEX128):
            continue  # a value that holds for a whole call is no feature of a row; complex ones have no order
        given = said.inputs.get(spec.name)
        columns = None if given is None else given.names
        found += _features(spec, sample[spec.name], columns or (names or {}).get(spec.name), said)
    _check_features(said, [feature.name for feature in found])
    watched = tuple(_with(feature, said.features.get(feature.name)) for feature in found)
    kept = tuple(feature for feature in watched if feature.name not in said.ignore)
    if not kept:
        raise InvalidConfig("the schema leaves no feature to watch", hint="take some out of 'ignore'")
    roles = {role: value for role in ("label", "time", "key", "group") if (value := getattr(said, role)) is not None}
    if said.score is not None:
        signature.output(said.score)
    ignored = tuple(feature for feature in watched if feature.name in said.ignore)
    return DriftSchema(kept, score=said.score, ignored=ignored, **roles)


def guess_kind(values: Array, dtype: DType) -> Kind:
    """What a column of one value a row holds, by its type and the values of some rows.

    >>> guess_kind(np.arange(100) % 3, DType.INT64), guess_kind(np.linspace(0, 1, 100), DType.FLOAT64)
    (<Kind.CATEGORICAL: 'categorical'>, <Kind.NUMERIC: 'numeric'>)
    """
    if dtype is DType.BOOL:
        return Kind.CATEGORICAL
    if dtype is DType.STRING:
        present = [value for value in values.tolist() if value is not None]
        distinct = len(set(present))
        is_coded = distinct <= min(TEXT_VALUES, max(1, len(present) // 2))
        return Kind.CATEGORICAL if is_coded or not present else Kind.TEXT
    numbers = values.astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size or (np.trunc(numbers) != numbers).any():
        return Kind.NUMERIC
    distinct = np.unique(numbers).size
    most = CODED_VALUES if dtype.is_float else COUNTED_VALUES
    is_coded = 1 < distinct <= most and numbers.size >= ROWS_A_VALUE * distinct
    return Kind.CATEGORICAL if is_coded else Kind.NUMERIC


def _features(spec: TensorSpec, array: Array, names: Sequence[str] | None, said: Said) -> list[Feature]:
    given = said.inputs.get(spec.name)
    kind = Kind(given.kind) if given is not None and given.kind is not None else None
    if array.ndim == 1:
        name = names[0] if names else spec.name
        return [Feature(name, kind or guess_kind(array, spec.dtype), spec.name, None, spec.dtype)]
    if not _is_spread(spec, array, names, kind):
        return [Feature(spec.name, kind or _whole_kind(spec, array), spec.name, None, spec.dtype)]
    width = array.shape[1]
    if names is not None and len(names) != width:
        raise InvalidConfig(f"input '{spec.name}' has {width} columns, and {len(names)} names are given")
    called = names or [spec.name if width == 1 else f"{spec.name}[{i}]" for i in range(width)]
    return [
        Feature(name, kind or guess_kind(array[:, i], spec.dtype), spec.name, i, spec.dtype)
        for i, name in enumerate(called)
    ]


def _is_spread(spec: TensorSpec, array: Array, names: Sequence[str] | None, kind: Kind | None) -> bool:
    """Whether each column is a feature; where rows may differ in length, as sequences do, a column means nothing."""
    if array.ndim != 2 or not 1 <= array.shape[1] <= MAX_FEATURES or kind in (Kind.TENSOR, Kind.IMAGE):
        return False
    return names is not None or (len(spec.dims) == 2 and isinstance(spec.dims[1], int))


def _whole_kind(spec: TensorSpec, array: Array) -> Kind:
    """Three dims with 1, 3 or 4 channels on either side are an image; everything else is a tensor."""
    shape = array.shape[1:]
    is_image = len(shape) == 3 and (shape[0] in CHANNELS or shape[-1] in CHANNELS) and sorted(shape)[1] >= MIN_SIDE
    return Kind.IMAGE if is_image and spec.dtype is not DType.STRING else Kind.TENSOR


def _with(feature: Feature, said: SaidFeature | None) -> Feature:
    if said is None:
        return feature
    changes: dict[str, Any] = {
        "low": said.low,
        "high": said.high,
        "categories": None if said.categories is None else tuple(str(value) for value in said.categories),
        "is_nullable": said.nullable,
        "importance": said.importance,
    }
    if said.kind is not None:
        kind = Kind(said.kind)
        if feature.column is not None and not kind.is_scalar:
            raise InvalidConfig(f"feature '{feature.name}' is one number a row, and no {kind}")
        if feature.datatype is DType.STRING and kind not in (Kind.TEXT, Kind.CATEGORICAL):
            raise InvalidConfig(f"feature '{feature.name}' is text, and no {kind}")
        changes["kind"] = kind
    return replace(feature, **changes)


def _check_inputs(said: Said, signature: Signature) -> None:
    known = [spec.name for spec in signature.inputs]
    for name in said.inputs:
        if name not in known:
            raise InvalidConfig(f"the schema speaks of input '{name}'", hint=did_you_mean(name, known))


def _check_features(said: Said, known: Sequence[str]) -> None:
    twice = next((name for i, name in enumerate(known) if name in known[:i]), None)
    if twice is not None:
        raise InvalidInput(f"two features would be called '{twice}'", hint="inputs.NAME.names in a schema file")
    taken = next((name for name in known if name.startswith(RESERVED)), None)
    if taken is not None:
        raise InvalidInput(
            f"'{taken}' is what a column of predictions is called", hint="inputs.NAME.names in a schema file"
        )
    for name in (*said.features, *said.ignore):
        if name not in known:
            raise InvalidConfig(f"the schema speaks of feature '{name}'", hint=did_you_mean(name, known))
