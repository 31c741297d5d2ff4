"""What the exporters of boosted trees share: columns, names and the original around a converter of onnxmltools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
from onnxmltools.convert.common.data_types import FloatTensorType

from mlserve.errors import InvalidInput, Unsupported, UsageError
from mlserve.export.estimators import original, output_name
from mlserve.export.exporter import Conversion, Request
from mlserve.export.naming import name_axes, rename_outputs
from mlserve.export.quieting import converter_output
from mlserve.export.sampling import first_rows, table_rows
from mlserve.export.sklearn_columns import plan_columns

TREE_OPSET = 15
"""The newest opset that onnxmltools writes trees for; graphs are brought up to date afterwards."""

_CONVERTER_ERRORS = (RuntimeError, NotImplementedError, ValueError, TypeError, AttributeError, LookupError)


def convert_trees(
    request: Request, estimator: Any, convert: Callable[..., onnx.ModelProto], tools: tuple[str, ...]
) -> Conversion:
    """The graph of ``estimator``, which has scikit-learn's methods: one float matrix in.

    Raises UsageError, InvalidInput for a sample of other columns, Unsupported for what ``convert`` refuses.
    """
    if request.dynamic is not None:
        raise UsageError("the batch axis of boosted trees is always dynamic", hint="leave out --dynamic")
    first = first_rows(request) if request.sample is not None else None
    columns = plan_columns(estimator, first)
    if columns.layout != "matrix":
        raise Unsupported(
            f"the sample's column '{columns.names[0]}' is not numeric, and boosted trees take numbers here",
            hint="put an encoder in front: make_pipeline(ColumnTransformer(…), the model)",
        )
    kinds = [(columns.names[0], FloatTensorType([None, columns.features]))]
    try:
        with converter_output("onnxmltools"):
            model = convert(estimator, initial_types=kinds, target_opset=TREE_OPSET)
    except _CONVERTER_ERRORS as error:
        fact = " ".join(str(error).split("\n")[0].split())
        raise Unsupported(f"onnxmltools cannot convert this model: {fact or type(error).__name__}") from error
    for value in model.graph.output:
        # LightGBM's labels are declared as one, whatever the number of rows.
        if value.name == "label":
            value.type.tensor_type.shape.dim[0].Clear()
    names = rename_outputs(model, [output_name(value.name, estimator) for value in model.graph.output])
    name_axes(model)
    return Conversion(
        model,
        original(estimator, columns, names),
        (*tools, "onnxmltools", "onnx", "onnxruntime", "onnxruntime-gpu"),
        example=None if first is not None else table_rows(columns.names[0], columns.features),
        is_tabular=True,
    )


def refuse_unfitted(source: str, estimator: Any, is_fitted: bool) -> None:
    """Raises InvalidInput unless ``is_fitted``."""
    if not is_fitted:
        raise InvalidInput(f"'{source}' is a {type(estimator).__name__} that was not fitted")
