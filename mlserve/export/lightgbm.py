"""LightGBM: estimators of its scikit-learn interface and native boosters, through onnxmltools."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any, ClassVar

import lightgbm
import numpy as np
import onnx
from onnxmltools import convert_lightgbm

from mlserve.errors import InvalidInput, NotFound
from mlserve.export.boosting import convert_trees, refuse_unfitted
from mlserve.export.exporter import Conversion, Request
from mlserve.export.sklearn_trees import floor32

Array = np.ndarray[Any, Any]
_THRESHOLDS = re.compile(r"^threshold=(.*)$", re.MULTILINE)
_LEAVES = re.compile(r"^leaf_value=(.*)$", re.MULTILINE)
_ENDS = (b"\nend of trees\n", b"\nend of parameters\n")
_AVERAGES = "\naverage_output\n"
_SIZES = re.compile(r"^tree_sizes=.*\n", re.MULTILINE)


class LightgbmExporter:
    """LGBMClassifier, LGBMRegressor, LGBMRanker and boosters: objects, or ``.lgb`` files of ``save_model``."""

    suffixes: ClassVar[tuple[str, ...]] = (".lgb",)
    packages: ClassVar[tuple[str, ...]] = ("lightgbm",)

    def convert(self, request: Request) -> Conversion:
        """The trees as a TreeEnsemble: label and probabilities, or one prediction.

        Raises InvalidInput for a file that cannot be read, Unsupported for what the converter does not know.
        """
        loaded = request.loaded if request.loaded is not None else _read(request.source)
        if isinstance(loaded, lightgbm.Booster):
            loaded = BoosterModel(loaded)
        if not isinstance(loaded, lightgbm.LGBMModel | BoosterModel):
            raise InvalidInput(f"'{request.source}' is a {type(loaded).__qualname__}, not a model of LightGBM")
        refuse_unfitted(request.source, loaded, isinstance(loaded, BoosterModel) or loaded.__sklearn_is_fitted__())
        return convert_trees(request, loaded, as_graph, ("lightgbm",))


class BoosterModel:
    """A native booster with scikit-learn's methods: a classifier where its objective is one."""

    def __init__(self, booster: lightgbm.Booster) -> None:
        self.booster = booster
        self.n_features_in_ = booster.num_feature()
        classes = booster.num_model_per_iteration()
        objective = str(booster.dump_model(num_iteration=1)["objective"]).split(" ")[0]
        if objective in ("binary", "multiclass", "multiclassova"):
            self.classes_ = np.arange(max(classes, 2))
            self.predict_proba = self._probabilities

    def predict(self, table: Array) -> Array:
        answers = np.asarray(self.booster.predict(table))
        if not hasattr(self, "classes_"):
            return answers
        return np.asarray(np.argmax(self._probabilities(table), axis=1))

    def _probabilities(self, table: Array) -> Array:
        answers = np.asarray(self.booster.predict(table))
        return np.stack([1 - answers, answers], axis=1) if answers.ndim == 1 else answers


def as_graph(estimator: Any, **options: Any) -> onnx.ModelProto:
    """What ``convert_lightgbm`` makes of it, once the trees are such as it takes rightly."""
    source = prepared(estimator.booster) if isinstance(estimator, BoosterModel) else plain(estimator)
    model: onnx.ModelProto = convert_lightgbm(source, zipmap=False, **options)
    return model


def plain(estimator: lightgbm.LGBMModel) -> lightgbm.LGBMModel:
    """A copy of ``estimator`` around ``prepared`` trees."""
    found = copy.copy(estimator)
    found._Booster = prepared(estimator.booster_)
    found.boosting_type = "gbdt"  # of forests the converter divides by a hundred, however many trees there are
    return found


def prepared(booster: lightgbm.Booster) -> lightgbm.Booster:
    """A copy of ``booster`` that the converter takes rightly.

    Rounds that early stopping discarded are left out. Thresholds are the largest float32 not above them: the converter
    rounds to the nearest, and where that is up, a float32 value between the two would change its side. Trees that are
    averaged (random forests) have their share in each leaf, since the converter sums.
    """
    best = booster.best_iteration
    text = booster.model_to_string(num_iteration=best if best > 0 else -1)
    # The sizes are those of the text before; without them it is read tree by tree.
    text = _THRESHOLDS.sub(lambda line: _line("threshold", floor32(_numbers(line))), _SIZES.sub("", text))
    if _AVERAGES in text:
        rounds = text.count("\nTree=") / booster.num_model_per_iteration()
        text = _LEAVES.sub(lambda line: _line("leaf_value", _numbers(line) / rounds), text.replace(_AVERAGES, "\n"))
    return lightgbm.Booster(model_str=text)


def _numbers(line: re.Match[str]) -> Array:
    return np.array([float(word) for word in line[1].split()])


def _line(name: str, values: Array) -> str:
    return f"{name}=" + " ".join(repr(float(value)) for value in values)


def _read(source: str) -> lightgbm.Booster:
    if not Path(source).is_file():
        raise NotFound(f"no file '{source}'")
    content = Path(source).read_bytes()
    # LightGBM takes a file that is cut short for one of fewer trees, or reads on behind its end.
    if content.startswith(b"tree\n") and any(end not in content for end in _ENDS):
        raise InvalidInput(
            f"'{source}' is not a file of LightGBM that can be read here: it is cut short",
            hint="copy the file again, or save it with LightGBM 2.3 or later",
        )
    try:
        return lightgbm.Booster(model_file=str(Path(source)))
    except lightgbm.basic.LightGBMError as error:
        raise InvalidInput(
            f"'{source}' is not a file of LightGBM that can be read here", hint="write it with Booster.save_model"
        ) from error
