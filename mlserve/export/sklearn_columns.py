"""How an estimator's table meets the graph's inputs: one matrix, a column per input, or a list of texts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mlserve.core.dtypes import DType, from_numpy
from mlserve.errors import InvalidInput, Unsupported, UsageError
from mlserve.export.exporter import Arrays
from mlserve.export.sklearn_texts import reads_text

MATRIX = "input"
"""What the one input of a numeric table is called, unless the sample's own array has another name."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The graph's inputs in order with their types, and how they make up what the estimator is called with.

    A ``matrix`` is one input of (rows, ``features``); a ``frame`` has an input of (rows, 1) per column; ``texts`` is
    one input of (rows,) strings.
    """

    layout: Literal["matrix", "frame", "texts"]
    names: tuple[str, ...]
    dtypes: tuple[DType, ...]
    features: int

    def assemble(self, inputs: Arrays) -> Any:
        """The estimator's ``X`` of the graph's ``inputs``, floats as float64 of the same values."""
        if self.layout == "matrix":
            return np.asarray(inputs[self.names[0]], np.float64)
        if self.layout == "texts":
            return np.asarray(inputs[self.names[0]], object).ravel()
        import pandas as pd

        return pd.DataFrame({name: _plain(inputs[name]) for name in self.names})


def plan_columns(estimator: Any, first: Arrays | None) -> Columns:
    """The inputs for ``estimator``, from the first rows of a sample (roles left out) or from what the fit has kept.

    Raises UsageError when neither says enough, InvalidInput when the sample has other columns than the fit had.
    """
    if any(reads_text(step) for step in first_steps(estimator)):
        name = next(iter(first)) if first and len(first) == 1 else "text"
        return Columns("texts", (name,), (DType.STRING,), 1)
    if first is None:
        return _from_fit(estimator)
    if len(first) == 1:
        ((name, array),) = first.items()
        if array.ndim == 2 and from_numpy(array.dtype) is not DType.STRING:
            _check_features(estimator, array.shape[1])
            return Columns("matrix", (name,), (DType.FLOAT32,), array.shape[1])
    return _from_sample(estimator, first)


def encoder_columns(estimator: Any, *kinds: type) -> set[str]:
    """Columns whose categories an encoder inside ``estimator`` learnt as values of ``kinds``.

    Of text: postal codes look like numbers. Of numbers: they are codes, and stay whole.
    """
    found: set[str] = set()
    for step in first_steps(estimator):
        for _, transformer, columns in getattr(step, "transformers_", ()):
            for encoder in (transformer, *(part for _, part in getattr(transformer, "steps", ()))):
                categories = getattr(encoder, "categories_", ())
                if not isinstance(columns, str) and len(categories) == len(columns):
                    pairs = zip(columns, categories, strict=True)
                    found |= {name for name, known in pairs if any(isinstance(value, kinds) for value in known)}
    return found


def _from_fit(estimator: Any) -> Columns:
    features = getattr(estimator, "n_features_in_", None)
    if features is None or _selects_by_name(estimator):
        raise UsageError(
            "the estimator does not say what its columns hold", hint="--sample DATA with a few rows of its input"
        )
    return Columns("matrix", (MATRIX,), (DType.FLOAT32,), int(features))


def _from_sample(estimator: Any, first: Arrays) -> Columns:
    names = _fitted_names(estimator) or tuple(first)
    missing = [name for name in names if name not in first]
    if missing:
        raise InvalidInput(f"the sample has no column '{missing[0]}', which the estimator was fitted with")
    _check_features(estimator, len(names))
    whole = encoder_columns(estimator, np.integer, np.bool_, int)
    dtypes = tuple(_input_dtype(name, first[name], is_code=name in whole) for name in names)
    if DType.STRING in dtypes or _selects_by_name(estimator):
        return Columns("frame", names, dtypes, len(names))
    given = tuple(name for name in first if name in names)
    if given != names:
        raise InvalidInput(
            f"the sample's columns are in another order than the estimator was fitted with: '{given[0]}' comes first",
            hint=f"put '{names[0]}' first, and the others as in feature_names_in_",
        )
    return Columns("matrix", (MATRIX,), (DType.FLOAT32,), len(names))


def _fitted_names(estimator: Any) -> tuple[str, ...]:
    return tuple(str(name) for name in getattr(estimator, "feature_names_in_", ()))


def _check_features(estimator: Any, given: int) -> None:
    fitted = getattr(estimator, "n_features_in_", given)
    if given != fitted:
        raise InvalidInput(
            f"the sample has {given} features, the estimator was fitted with {fitted}",
            hint="name the ground truth 'label' (or --label NAME), so that it is not taken for a feature",
        )


def _input_dtype(name: str, array: np.ndarray[Any, Any], *, is_code: bool) -> DType:
    """Whole numbers that are measured, not coded, are float32 as the fractions beside them: no step mixes types."""
    try:
        dtype = from_numpy(array.dtype)
    except Unsupported as error:
        raise Unsupported(
            f"column '{name}' of the sample: {error.message}",
            hint="ONNX knows numbers and text; give days since a date",
        ) from error
    if dtype is DType.STRING:
        return dtype
    return DType.INT64 if is_code and (dtype.is_integer or dtype is DType.BOOL) else DType.FLOAT32


def _plain(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    column = np.asarray(array).reshape(-1)
    return column.astype(np.float64) if column.dtype.kind == "f" else column


def _selects_by_name(estimator: Any) -> bool:
    return any(
        isinstance(columns, str)
        or (isinstance(columns, list | np.ndarray) and any(isinstance(c, str) for c in columns))
        for step in first_steps(estimator)
        for _, _, columns in getattr(step, "transformers_", ())
    )


def first_steps(estimator: Any) -> Iterator[Any]:
    """``estimator`` and what stands first inside it, as far as pipelines, searches and wrappers go."""
    yield estimator
    steps = getattr(estimator, "steps", None)
    inner = steps[0][1] if steps else getattr(estimator, "best_estimator_", None)
    if inner is not None:
        yield from first_steps(inner)
