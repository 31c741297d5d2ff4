"""scikit-learn: estimators and pipelines through skl2onnx, classifiers as plain tensors (zipmap off)."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np
import onnx
import skl2onnx
from onnx import numpy_helper
from skl2onnx.common import data_types
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.exceptions import NotFittedError
from sklearn.svm import LinearSVC
from sklearn.utils.validation import check_is_fitted

from mlserve.core.dtypes import DType
from mlserve.errors import InvalidInput, Unsupported, UsageError
from mlserve.export.boosting_steps import register_steps
from mlserve.export.estimators import original, output_name
from mlserve.export.exporter import Conversion, Request
from mlserve.export.naming import name_axes, rename_outputs
from mlserve.export.quieting import converter_output
from mlserve.export.sampling import first_rows, table_rows
from mlserve.export.sklearn_columns import Columns, encoder_columns, plan_columns
from mlserve.export.sklearn_precision import converters, inside, with_exact_front
from mlserve.export.sklearn_texts import reads_text, text_options
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
        first = first_rows(request, text=encoder_columns(estimator, str)) if request.sample is not None else None
        columns = plan_columns(estimator, first)
        model = _convert(with_exact_front(with_float32_thresholds(estimator)), columns, request.opset)
        _flatten_labels(model, estimator)
        notes = _drop_binary_scores(model, estimator)
        names = rename_outputs(model, [output_name(value.name, estimator) for value in model.graph.output])
        name_axes(model)
        return Conversion(
            model,
            original(estimator, columns, names),
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
    if isinstance(getattr(estimator, "classes_", None), list):
        raise Unsupported(
            f"'{request.source}' gives several labels a row, each with probabilities of its own",
            hint="export one classifier for each label",
        )
    return _without_flattening(estimator)


def _without_flattening(estimator: Any) -> Any:
    """``estimator``, or a copy whose votes are not flattened: the converter refuses what only ``transform`` does."""
    if not any(getattr(part, "flatten_transform", False) for part in inside(estimator)):
        return estimator
    estimator = copy.deepcopy(estimator)
    for part in inside(estimator):
        if hasattr(part, "flatten_transform"):
            part.flatten_transform = False
    return estimator


def _convert(estimator: Any, columns: Columns, opset: int) -> onnx.ModelProto:
    widths: dict[str, list[int | None]] = {"matrix": [None, columns.features], "frame": [None, 1], "texts": [None]}
    width = widths[columns.layout]
    types = [(name, _TENSORS[dtype](list(width))) for name, dtype in zip(columns.names, columns.dtypes, strict=True)]
    register_steps()
    targets = {"": min(opset, skl2onnx.__max_supported_opset__), "ai.onnx.ml": ML_OPSET}
    try:
        with converter_output("skl2onnx"):
            model: onnx.ModelProto = skl2onnx.convert_sklearn(
                estimator,
                initial_types=types,
                target_opset=targets,
                options=_options(estimator),
                **converters(estimator),
            )
    except _CONVERTER_ERRORS as error:
        fact = " ".join(str(error).split("\n")[0].split())
        raise Unsupported(f"skl2onnx cannot convert this model: {fact}", hint=_advice(fact)) from error
    return model


def _options(estimator: Any) -> dict[Any, dict[str, Any]]:
    """What the converter is told of the steps; LinearSVC has no zipmap, and would be given one by its pipeline."""
    options: dict[Any, dict[str, Any]] = {LinearSVC: {}}
    parts = list(inside(estimator))
    if hasattr(estimator, "classes_") and not isinstance(parts[-1], LinearSVC):
        options[id(estimator)] = {"zipmap": False}
    return options | {id(step): text_options(step) for step in parts if reads_text(step)}


def _advice(fact: str) -> str | None:
    if "shape calculator" in fact:
        return (
            "leave that step out of the exported pipeline, or give it a converter: skl2onnx.update_registered_converter"
        )
    if "at most 1 input" in fact:
        return "put the column transformer in front of it: make_pipeline(columns, that estimator)"
    return None


_CONVERTER_ERRORS = (
    RuntimeError,
    NotImplementedError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    NameError,
)


def _flatten_labels(model: onnx.ModelProto, estimator: Any) -> None:
    """The converter gives the labels of a quadratic discriminant analysis as one row of them."""
    if not isinstance(list(inside(estimator))[-1], QuadraticDiscriminantAnalysis):
        return
    label = model.graph.output[0].name
    rename_outputs(model, [f"{label}_row", *(value.name for value in model.graph.output[1:])])
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), f"{label}_length"))
    model.graph.node.add(op_type="Reshape", input=[f"{label}_row", f"{label}_length"], output=[label])
    del model.graph.output[0].type.tensor_type.shape.dim[1:]
    model.graph.output[0].name = label


def _drop_binary_scores(model: onnx.ModelProto, estimator: Any) -> tuple[str, ...]:
    """skl2onnx gives a binary margin as two columns, the first class's under the second's sign: worse than none."""
    if hasattr(estimator, "predict_proba") or len(getattr(estimator, "classes_", ())) != 2:
        return ()
    if len(model.graph.output) < 2:
        return ()
    del model.graph.output[1:]
    return ("the model has no probabilities; the graph gives the label only",)
