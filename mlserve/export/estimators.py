"""An estimator as a function of its graph's named inputs: predict, predict_proba and their like under output names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlserve.errors import InvalidInput, Unsupported
from mlserve.export.exporter import Arrays
from mlserve.export.quieting import foreign_output
from mlserve.export.sklearn_columns import Columns


def output_name(converted: str, estimator: Any) -> str:
    """What an output is called by what it is; ``converted`` is what the converter calls it."""
    if converted == "variable":
        return "prediction" if hasattr(estimator, "predict") else "output"
    if converted == "probabilities" and not hasattr(estimator, "predict_proba"):
        return "scores"
    return converted


def original(estimator: Any, columns: Columns, names: list[str]) -> Callable[[Arrays], dict[str, np.ndarray[Any, Any]]]:
    """The function of the graph's inputs that gives ``estimator``'s answers under the outputs' ``names``.

    It raises InvalidInput for rows that the estimator refuses.
    """
    methods = {name: _method(estimator, name) for name in names}

    def predict(inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        table = columns.assemble(inputs)
        try:
            return _answers(methods, table)
        except InvalidInput:
            # A few estimators fitted on float32, such as KMeans, take nothing else.
            if columns.layout != "matrix":
                raise
            return _answers(methods, table.astype(np.float32))

    return predict


def _answers(methods: Mapping[str, Callable[[Any], Any]], table: Any) -> dict[str, np.ndarray[Any, Any]]:
    try:
        with foreign_output():
            return {name: _as_output(name, method(table)) for name, method in methods.items()}
    except (ValueError, TypeError, LookupError, RuntimeError) as error:
        raise InvalidInput(f"the original refuses these rows: {error}") from error


def _method(estimator: Any, output: str) -> Callable[[Any], Any]:
    candidates = {
        "label": ("predict",),
        "prediction": ("predict",),
        "probabilities": ("predict_proba",),
        "scores": ("transform", "decision_function", "score_samples"),
    }.get(output, ("transform", "predict"))
    for name in candidates:
        if hasattr(estimator, name):
            method: Callable[[Any], Any] = getattr(estimator, name)
            return method
    raise Unsupported(f"the graph's output '{output}' has no counterpart in {type(estimator).__qualname__}")


def _as_output(name: str, answer: Any) -> np.ndarray[Any, Any]:
    """``answer`` as the graph gives it: text as objects, labels such as 1.0 as whole numbers."""
    array = np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)
    if array.dtype.kind in "US":
        return array.astype(object)
    is_whole = name == "label" and array.dtype.kind == "f" and bool((array == np.trunc(array)).all())
    return array.astype(np.int64) if array.dtype.kind in "iub" or is_whole else array
