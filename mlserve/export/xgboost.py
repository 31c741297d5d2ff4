"""XGBoost: estimators of its scikit-learn interface and native boosters, through onnxmltools."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import xgboost
from onnxmltools import convert_xgboost

from mlserve.errors import InvalidInput, NotFound, Unsupported
from mlserve.export.boosting import convert_trees, refuse_unfitted
from mlserve.export.exporter import Conversion, Request

_CLASSES = ("binary:logistic", "multi:softprob", "multi:softmax")


class XgboostExporter:
    """XGBClassifier, XGBRegressor and their like, and boosters: objects, or ``.ubj`` files of ``save_model``."""

    suffixes: ClassVar[tuple[str, ...]] = (".ubj",)
    packages: ClassVar[tuple[str, ...]] = ("xgboost",)

    def convert(self, request: Request) -> Conversion:
        """The trees as a TreeEnsemble: label and probabilities, or one prediction.

        Raises InvalidInput for a file that cannot be read, Unsupported for boosters other than of trees.
        """
        loaded = request.loaded if request.loaded is not None else _read(request.source)
        if isinstance(loaded, xgboost.Booster):
            loaded = _estimator_of(loaded)
        if not isinstance(loaded, xgboost.XGBModel):
            raise InvalidInput(f"'{request.source}' is a {type(loaded).__qualname__}, not a model of XGBoost")
        refuse_unfitted(request.source, loaded, loaded.__sklearn_is_fitted__())
        return convert_trees(request, whole(loaded, request.source), as_graph, ("xgboost",))


def whole(estimator: xgboost.XGBModel, source: str) -> xgboost.XGBModel:
    """``estimator``, or a copy without the rounds that early stopping discarded, which the converter would keep.

    Raises Unsupported for what the graph cannot say.
    """
    booster = estimator.get_booster()
    kind = json.loads(booster.save_config())["learner"]["gradient_booster"]["name"]
    if kind != "gbtree":
        raise Unsupported(f"'{source}' is made by the booster '{kind}'", hint="fit it with booster='gbtree'")
    if not np.isnan(estimator.missing):
        raise Unsupported(
            f"'{source}' takes {estimator.missing:g} for a missing value, and the graph only NaN",
            hint="fit it with missing=nan, and rows that have NaN in its place",
        )
    rounds = booster.num_boosted_rounds()
    best = _best_iteration(booster)
    return estimator if best is None or best + 1 >= rounds else _like(estimator, booster[: best + 1])


def as_graph(estimator: Any, **options: Any) -> onnx.ModelProto:
    """What ``convert_xgboost`` makes of it; of rankers the score, as of regressors."""
    model: onnx.ModelProto = convert_xgboost(plain(estimator), **options)
    return model


def plain(estimator: xgboost.XGBModel) -> xgboost.XGBModel:
    """A copy without names of features, of which the converter knows the numbers only; of a ranker, a regressor."""
    booster = estimator.get_booster().copy()
    booster.feature_names = None
    return _like(xgboost.XGBRegressor() if isinstance(estimator, xgboost.XGBRanker) else estimator, booster)


def _best_iteration(booster: xgboost.Booster) -> int | None:
    try:
        return int(booster.best_iteration)
    except AttributeError:
        return None


def _read(source: str) -> xgboost.Booster:
    if not Path(source).is_file():
        raise NotFound(f"no file '{source}'")
    # XGBoost's reader of a file that is cut short ends the process, so another one goes first.
    trial = [sys.executable, "-c", "import sys, xgboost; xgboost.Booster(model_file=sys.argv[1])", source]
    if subprocess.run(trial, capture_output=True, check=False).returncode:
        raise InvalidInput(
            f"'{source}' is not a file of XGBoost that can be read here", hint="write it again with Booster.save_model"
        )
    return xgboost.Booster(model_file=source)


def _estimator_of(booster: xgboost.Booster) -> xgboost.XGBModel:
    """A booster with scikit-learn's methods, a classifier where its objective is one."""
    objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    return _like(xgboost.XGBClassifier() if objective in _CLASSES else xgboost.XGBRegressor(), booster)


def _like(estimator: xgboost.XGBModel, booster: xgboost.Booster) -> xgboost.XGBModel:
    made = type(estimator)(**estimator.get_params())
    made.load_model(booster.save_raw("ubj"))
    return made
