"""scikit-learn: estimators and pipelines through skl2onnx, classifiers as plain tensors (zipmap off)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import onnx
import skl2onnx
from skl2onnx.common import data_types
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput, Unsupported, UsageError
from mlserve.export.exporter import Arrays, Conversion, Request
from mlserve.export.naming import name_axes, rename_outputs
from mlserve.export.quieting import converter_output, foreign_output
from mlserve.export.sampling import first_rows, table_rows
from mlserve.export.sklearn_columns import Columns, plan_columns, text_columns
from mlserve.export.sklearn_precision import converters, with_exact_front
from mlserve.export.sklearn_trees import with_float32_thresholds

ML_OPSET = 3
"""The newest ``ai.onnx.ml`` that the converter writes for every estimator."""

_TENSORS = {
    DType.FLOAT32: data_types.FloatTensorType,
    DType.INT64: data_types.Int64TensorType,
    DType.STRING: data_types.StringTensorType,
}
_TOOLS = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "onnxruntime-gpu")


class SklearnExporter:
    """Anything fitted that skl2onnx has a converter for."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[tuple[str, ...]] = ("sklearn",)

    def convert(self, request: Request) -> Conversion:
        """The graph of a fitted estimator: a matrix input where all is numeric, else an input per column.

        Raises InvalidInput for an estimator that was not fitted, UsageError where a sample is needed, Unsupported for a
        step without a converter.
        """
        estimator = _fitted(request)
        if request.dynamic is not None:
            raise UsageError("the batch axis of a scikit-learn model is always dynamic", hint="leave out --dynamic")
        first = first_rows(request, text=text_columns(estimator)) if request.sample is not None else None
        columns = plan_columns(estimator, first)
        model = _convert(with_exact_front(with_float32_thresholds(estimator)), columns, request.opset)
        notes = _drop_binary_scores(model, estimator)
        names = rename_outputs(model, [_output_name(value.name, estimator) for value in model.graph.output])
        name_axes(model)
        return Conversion(
            model,
            _original(estimator, columns, names),
            _TOOLS,
            example=None if first is not None else table_rows(columns.names[0], columns.features),
            is_tabular=True,
            notes=notes,
        )


def _fitted(request: Request) -> Any:
    estimator = request.loaded
    if not isinstance(estimator, BaseEstimator):
        raise InvalidInput(f"'{request.source}' is a {type(estimator).__qualname__}, not a scikit-learn estimator")
    try:
        check_is_fitted(estimator)
    except (NotFittedError, TypeError) as error:
        raise InvalidInput(f"'{request.source}' is not fitted: {error}") from error
    return estimator


def _convert(estimator: Any, columns: Columns, opset: int) -> onnx.ModelProto:
    widths: dict[str, list[int | None]] = {"matrix": [None, columns.features], "frame": [None, 1], "texts": [None]}
    width = widths[columns.layout]
    types = [(name, _TENSORS[dtype](list(width))) for name, dtype in zip(columns.names, columns.dtypes, strict=True)]
    targets = {"": min(opset, skl2onnx.__max_supported_opset__), "ai.onnx.ml": ML_OPSET}
    options = {id(step): {"locale": "C"} for step in _vectorizers(estimator)}
    with converter_output("skl2onnx"):
        try:
            zipmap = {id(estimator): {"zipmap": False}} if hasattr(estimator, "classes_") else {}
            return _run_converter(estimator, types, targets, options | zipmap)
        except NameError:  # a few linear classifiers do not know the option, and give tensors anyway
            return _run_converter(estimator, types, targets, options)


def _run_converter(estimator: Any, types: Any, targets: dict[str, int], options: Any) -> onnx.ModelProto:
    try:
        model: onnx.ModelProto = skl2onnx.convert_sklearn(
            estimator, initial_types=types, target_opset=targets, options=options or None, **converters(estimator)
        )
    except NameError:
        raise
    except (RuntimeError, NotImplementedError, ValueError, TypeError, AttributeError, LookupError) as error:
        fact = " ".join(str(error).split("\n")[0].split())
        raise Unsupported(f"skl2onnx cannot convert this model: {fact}") from error
    return model


def _vectorizers(estimator: Any) -> list[Any]:
    """Text steps: their default locale, en_US, is absent in most containers, where the runtime refuses the graph."""
    return [step for _, step in getattr(estimator, "steps", ()) if hasattr(step, "token_pattern")]


def _drop_binary_scores(model: onnx.ModelProto, estimator: Any) -> tuple[str, ...]:
    """skl2onnx gives a binary margin as two columns, the first class's under the second's sign: worse than none."""
    if hasattr(estimator, "predict_proba") or len(getattr(estimator, "classes_", ())) != 2:
        return ()
    if len(model.graph.output) < 2:
        return ()
    del model.graph.output[1:]
    return ("the model has no probabilities; the graph gives the label only",)


def _output_name(converted: str, estimator: Any) -> str:
    if converted == "variable":
        return "prediction" if hasattr(estimator, "predict") else "output"
    if converted == "probabilities" and not hasattr(estimator, "predict_proba"):
        return "scores"
    return converted


def _original(
    estimator: Any, columns: Columns, names: list[str]
) -> Callable[[Arrays], dict[str, np.ndarray[Any, Any]]]:
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
            return {name: _as_output(method(table)) for name, method in methods.items()}
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


def _as_output(answer: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)
    if array.dtype.kind in "US":
        return array.astype(object)
    return array.astype(np.int64) if array.dtype.kind in "iub" else array
