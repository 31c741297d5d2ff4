"""Scaling and imputing in float64 where trees follow: rows on a threshold fall to the side they fell to in training.

skl2onnx computes everything in float32. A tree's threshold is often a value of the training table itself, such as an
imputed mean; scaled in float32 it comes out a little beside the threshold, and whole rows go the other way.

    float32 inputs ── scalers, imputers in float64 ── Narrow ── trees in float32
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from onnx import TensorProto
from skl2onnx.common._registration import get_converter, get_shape_calculator
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

Array = np.ndarray[Any, Any]
Steps = list[tuple[str, Array]]

_ALIASES = {kind: f"Sklearn{kind.__name__}" for kind in (StandardScaler, SimpleImputer, RobustScaler)}
_ALIASES |= {MinMaxScaler: "SklearnMinMaxScaler", MaxAbsScaler: "SklearnMaxAbsScaler"}


class Narrow(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A step of the converted pipeline only: float64 to float32, ``down`` or to the ``nearest``."""

    def __init__(self, rounding: Literal["down", "nearest"]) -> None:
        self.rounding = rounding

    def transform(self, table: Any) -> Any:
        return table


def with_exact_front(estimator: Any) -> Any:
    """``estimator``, or the same pipeline with ``Narrow`` before its last step where that is made of trees.

    Histogram trees and LightGBM compare float64, so values are rounded down as their thresholds are; other trees of
    scikit-learn and XGBoost round their input to the nearest float32 themselves.
    """
    if not isinstance(estimator, Pipeline) or not _is_tree_model(estimator[-1]):
        return estimator
    if not any(type(step) in _ALIASES for name, front in estimator.steps[:-1] for step in inside(front)):
        return estimator
    is_wide = hasattr(estimator[-1], "_predictors") or type(estimator[-1]).__module__.startswith("lightgbm.")
    rounding: Literal["down", "nearest"] = "down" if is_wide else "nearest"
    return Pipeline([*estimator.steps[:-1], ("narrow", Narrow(rounding)), estimator.steps[-1]])


def converters(estimator: Any) -> dict[str, Any]:
    """Arguments of ``convert_sklearn`` that make ``Narrow`` and the float64 steps known; none where not needed."""
    if not isinstance(estimator, Pipeline) or not any(isinstance(step, Narrow) for _, step in estimator.steps):
        return {}
    return {
        "custom_conversion_functions": {kind: _convert_step for kind in _ALIASES} | {Narrow: _convert_narrow},
        "custom_shape_calculators": {kind: _shape_step for kind in _ALIASES} | {Narrow: _shape_narrow},
    }


def _is_tree_model(estimator: Any) -> bool:
    return type(estimator).__module__.startswith(("sklearn.ensemble.", "sklearn.tree.", "xgboost.", "lightgbm."))


def inside(step: Any) -> Iterator[Any]:
    """``step`` and what it is made of, through pipelines, unions, column transformers, searches; the last at last."""
    yield step
    if hasattr(step, "best_estimator_"):
        yield from inside(step.best_estimator_)
    for part in getattr(step, "transformer_list", ()):
        yield from inside(part[1])
    for part in getattr(step, "steps", ()):
        yield from inside(part[1])
    for part in getattr(step, "transformers_", ()):
        yield from inside(part[1])


def _arithmetic(step: Any) -> Steps | None:
    """``step`` as operations with one value a column, in scikit-learn's own order; None where it is more than that."""
    match step:
        case StandardScaler():
            return _present(("Sub", step.mean_ if step.with_mean else None), ("Div", step.scale_))
        case RobustScaler():
            return _present(("Sub", step.center_), ("Div", step.scale_))
        case MaxAbsScaler() if not getattr(step, "clip", False):
            return [("Div", step.scale_)]
        case MinMaxScaler() if not step.clip:
            return [("Mul", step.scale_), ("Add", step.min_)]
        case SimpleImputer() if _fills_numbers(step):
            return [("Where", step.statistics_)]
    return None


def _present(*steps: tuple[str, Array | None]) -> Steps:
    return [(operator, values) for operator, values in steps if values is not None]


def _fills_numbers(step: SimpleImputer) -> bool:
    statistics = np.asarray(step.statistics_)
    plain = isinstance(step.missing_values, float) and np.isnan(step.missing_values) and not step.add_indicator
    return plain and statistics.dtype.kind in "fi" and bool(np.isfinite(statistics.astype(np.float64)).all())


def _shape_step(operator: Any) -> None:
    if _arithmetic(operator.raw_operator) is None:
        get_shape_calculator(_ALIASES[type(operator.raw_operator)])(operator)
        return
    operator.outputs[0].type = DoubleTensorType(_table_shape(operator))


def _shape_narrow(operator: Any) -> None:
    operator.outputs[0].type = FloatTensorType(_table_shape(operator))


def _table_shape(operator: Any) -> list[int | None]:
    return [operator.inputs[0].get_first_dimension(), sum(value.type.shape[1] for value in operator.inputs)]


def _convert_step(scope: Any, operator: Any, container: Any) -> None:
    steps = _arithmetic(operator.raw_operator)
    if steps is None:
        get_converter(_ALIASES[type(operator.raw_operator)])(scope, operator, container)
        return
    add = _adder(scope, container)
    table = _as_doubles(operator, add)
    for kind, values in steps:
        constant = scope.get_unique_variable_name("values")
        container.add_initializer(constant, TensorProto.DOUBLE, [1, len(values)], np.asarray(values, np.float64))
        table = (
            add("Where", [add("IsNaN", [table], version=13), constant, table], version=16)
            if kind == "Where"
            else add(kind, [table, constant], version=14)
        )
    add("Identity", [table], version=14, output=operator.outputs[0].full_name)


def _convert_narrow(scope: Any, operator: Any, container: Any) -> None:
    add = _adder(scope, container)
    wide, output = _as_doubles(operator, add), operator.outputs[0].full_name
    narrow = add("Cast", [wide], version=13, to=TensorProto.FLOAT)
    if operator.raw_operator.rounding == "nearest":
        add("Identity", [narrow], version=14, output=output)
        return
    # Where the cast went up: a step of 0.6 to 1.2 units in the last place, rounded, is the float32 next below.
    widened = add("Cast", [narrow], version=13, to=TensorProto.DOUBLE)
    step, least = scope.get_unique_variable_name("step"), scope.get_unique_variable_name("least")
    container.add_initializer(step, TensorProto.DOUBLE, [1, 1], np.array([1.2 * 2.0**-24]))
    container.add_initializer(least, TensorProto.DOUBLE, [1, 1], np.array([1e-45]))
    size = add("Add", [add("Mul", [add("Abs", [widened], version=13), step], version=14), least], version=14)
    below = add("Cast", [add("Sub", [widened, size], version=14)], version=13, to=TensorProto.FLOAT)
    went_up = add("Greater", [widened, wide], version=13)
    add("Where", [went_up, below, narrow], version=16, output=output)


def _adder(scope: Any, container: Any) -> Callable[..., str]:
    def add(kind: str, inputs: list[str], *, version: int, output: str | None = None, **attributes: Any) -> str:
        name = output or scope.get_unique_variable_name(kind.lower())
        container.add_node(
            kind, inputs, name, op_version=version, name=scope.get_unique_operator_name(kind), **attributes
        )
        return name

    return add


def _as_doubles(operator: Any, add: Callable[..., str]) -> str:
    """The step's inputs as one float64 table: a column transformer gives one for each of its columns."""
    wide = [add("Cast", [value.full_name], version=13, to=TensorProto.DOUBLE) for value in operator.inputs]
    return wide[0] if len(wide) == 1 else add("Concat", wide, version=13, axis=1)
