"""Boosted trees as steps of scikit-learn's pipelines: skl2onnx is told how to convert them."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

from skl2onnx import update_registered_converter
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)

_CLASSIFIER_OPTIONS = {"nocl": [True, False], "zipmap": [True, False, "columns"], "raw_scores": [True, False]}
Convert = Callable[[Any, Any, Any], None]


def register_steps() -> None:
    """Make the boosted trees known whose packages are loaded already; no model holds others."""
    if "xgboost" in sys.modules:
        _register_xgboost()
    if "lightgbm" in sys.modules:
        _register_lightgbm()


def _register_xgboost() -> None:
    import xgboost
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost

    from mlserve.export.xgboost import plain, whole

    convert = _prepared(convert_xgboost, lambda model: plain(whole(model, type(model).__name__)))
    for kind in (xgboost.XGBClassifier, xgboost.XGBRFClassifier):
        _register(kind, f"Xgboost{kind.__name__}", convert, is_classifier=True)
    for kind in (xgboost.XGBRegressor, xgboost.XGBRFRegressor):
        _register(kind, f"Xgboost{kind.__name__}", convert, is_classifier=False)


def _register_lightgbm() -> None:
    import lightgbm
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

    from mlserve.export.lightgbm import plain

    convert = _prepared(convert_lightgbm, plain)
    _register(lightgbm.LGBMClassifier, "LightgbmLGBMClassifier", convert, is_classifier=True)
    _register(lightgbm.LGBMRegressor, "LightgbmLGBMRegressor", convert, is_classifier=False)


def _register(kind: type, alias: str, convert: Convert, *, is_classifier: bool) -> None:
    update_registered_converter(
        kind,
        alias,
        calculate_linear_classifier_output_shapes if is_classifier else calculate_linear_regressor_output_shapes,
        convert,
        options=_CLASSIFIER_OPTIONS if is_classifier else None,
    )


def _prepared(convert: Convert, prepare: Callable[[Any], Any]) -> Convert:
    """``convert`` for the model as ``prepare`` makes it; the operator itself stays as skl2onnx knows it."""

    def converted(scope: Any, operator: Any, container: Any) -> None:
        stand_in = copy.copy(operator)
        stand_in.raw_operator = prepare(operator.raw_operator)
        convert(scope, stand_in, container)

    return converted
