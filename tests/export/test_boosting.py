"""XGBoost and LightGBM: real models of each kind give the same answers as a graph, or are refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import VotingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlserve.errors import InvalidInput, Unsupported, UsageError
from mlserve.export.lightgbm import prepared
from tests.export.exports import answers, pickled, run_export, saved_rows
from tests.export.test_sklearn import customers, scaled_columns

ROUNDS = 12


def table(kind: str) -> tuple[Any, Any]:
    load = {"binary": load_breast_cancer, "classes": load_iris, "numbers": load_diabetes}[kind]
    features, target = load(return_X_y=True)
    return features.astype(np.float32), target


def with_gaps(features: Any) -> Any:
    rng = np.random.default_rng(0)
    return np.where(rng.random(features.shape) < 0.1, np.nan, features)


def xgb(kind: str, model: Any) -> Any:
    features, target = table(kind)
    return model.set_params(n_estimators=ROUNDS).fit(features, target), features


def lgb(kind: str, model: Any) -> Any:
    features, target = table(kind)
    return model.set_params(n_estimators=ROUNDS, verbose=-1).fit(features, target), features


def ranked(model: Any) -> Any:
    features, target = table("numbers")
    return model.set_params(n_estimators=ROUNDS).fit(features, target > 150, group=[len(target)]), features


def gappy(model: Any) -> Any:
    features, target = table("binary")
    features = with_gaps(features)
    return model.set_params(n_estimators=ROUNDS).fit(features, target), features


def stopped(model: Any) -> Any:
    """A model whose last rounds were discarded, since they made a held-out third worse."""
    features, target = table("binary")
    seen, held = (np.delete(features, np.s_[::3], 0), np.delete(target, np.s_[::3])), (features[::3], target[::3])
    if isinstance(model, xgboost.XGBModel):
        return model.fit(*seen, eval_set=[held], verbose=False), features
    stopping = lightgbm.early_stopping(3, verbose=False)
    return model.fit(*seen, eval_X=held[0], eval_y=held[1], callbacks=[stopping]), features


def xgb_booster(kind: str, **params: Any) -> Any:
    features, target = table(kind)
    return xgboost.train(params, xgboost.DMatrix(features, target), ROUNDS), features


def lgb_booster(kind: str, **params: Any) -> Any:
    features, target = table(kind)
    return lightgbm.train({"verbose": -1} | params, lightgbm.Dataset(features, target), ROUNDS), features


CLASSES, NUMBER = ["label", "probabilities"], ["prediction"]
MODELS: dict[str, tuple[Any, list[str]]] = {
    "xgb of two classes": (lambda: xgb("binary", xgboost.XGBClassifier()), CLASSES),
    "xgb of three classes": (lambda: xgb("classes", xgboost.XGBClassifier()), CLASSES),
    "xgb with gaps": (lambda: gappy(xgboost.XGBClassifier()), CLASSES),
    "xgb forest": (lambda: xgb("binary", xgboost.XGBRFClassifier()), CLASSES),
    "xgb number": (lambda: xgb("numbers", xgboost.XGBRegressor()), NUMBER),
    "xgb count": (lambda: xgb("numbers", xgboost.XGBRegressor(objective="count:poisson")), NUMBER),
    "xgb rank": (lambda: ranked(xgboost.XGBRanker()), NUMBER),
    "xgb stopped early": (
        lambda: stopped(xgboost.XGBClassifier(n_estimators=200, early_stopping_rounds=3)),
        CLASSES,
    ),
    "xgb booster of two classes": (lambda: xgb_booster("binary", objective="binary:logistic"), CLASSES),
    "xgb booster of three classes": (
        lambda: xgb_booster("classes", objective="multi:softprob", num_class=3),
        CLASSES,
    ),
    "xgb booster of a number": (lambda: xgb_booster("numbers", objective="reg:squarederror"), NUMBER),
    "lgb of two classes": (lambda: lgb("binary", lightgbm.LGBMClassifier()), CLASSES),
    "lgb of three classes": (lambda: lgb("classes", lightgbm.LGBMClassifier()), CLASSES),
    "lgb with gaps": (lambda: gappy(lightgbm.LGBMClassifier(verbose=-1)), CLASSES),
    "lgb forest": (
        lambda: lgb("binary", lightgbm.LGBMClassifier(boosting_type="rf", bagging_freq=1, bagging_fraction=0.7)),
        CLASSES,
    ),
    "lgb dart": (lambda: lgb("numbers", lightgbm.LGBMRegressor(boosting_type="dart")), NUMBER),
    "lgb number": (lambda: lgb("numbers", lightgbm.LGBMRegressor()), NUMBER),
    "lgb count": (lambda: lgb("numbers", lightgbm.LGBMRegressor(objective="poisson")), NUMBER),
    "lgb rank": (lambda: ranked(lightgbm.LGBMRanker(verbose=-1)), NUMBER),
    "lgb stopped early": (
        lambda: stopped(lightgbm.LGBMClassifier(n_estimators=200, verbose=-1)),
        CLASSES,
    ),
    "lgb booster of two classes": (lambda: lgb_booster("binary", objective="binary"), CLASSES),
    "lgb booster of three classes": (lambda: lgb_booster("classes", objective="multiclass", num_class=3), CLASSES),
    "lgb booster of a number": (lambda: lgb_booster("numbers", objective="regression"), NUMBER),
}


@pytest.mark.parametrize(("build", "outputs"), [pytest.param(*case, id=name) for name, case in MODELS.items()])
def test_every_kind_of_model_answers_as_before(build: Any, outputs: list[str]) -> None:
    model, features = build()

    report = run_export(pickled(model), sample=saved_rows(x=features), allow_pickle=True)

    assert report.passed, report.reasons
    assert (report.parity.rows_over, [spec.name for spec in report.signature.outputs]) == (0, outputs)
    assert report.parity.rows >= len(features)


@pytest.mark.parametrize(
    "last",
    [
        pytest.param(xgboost.XGBClassifier(n_estimators=ROUNDS), id="xgb"),
        pytest.param(xgboost.XGBRFClassifier(n_estimators=ROUNDS), id="xgb forest"),
        pytest.param(lightgbm.LGBMClassifier(n_estimators=ROUNDS, verbose=-1), id="lgb"),
        pytest.param(
            lightgbm.LGBMClassifier(
                n_estimators=ROUNDS, boosting_type="rf", bagging_freq=1, bagging_fraction=0.7, verbose=-1
            ),
            id="lgb forest",
        ),
        pytest.param(CalibratedClassifierCV(xgboost.XGBClassifier(n_estimators=ROUNDS), cv=2), id="xgb calibrated"),
        pytest.param(
            VotingClassifier(
                [
                    ("xgb", xgboost.XGBClassifier(n_estimators=ROUNDS)),
                    ("lgb", lightgbm.LGBMClassifier(n_estimators=ROUNDS, verbose=-1)),
                ],
                voting="soft",
            ),
            id="both vote",
        ),
    ],
)
def test_trees_behind_columns_of_words_and_gaps_answer_as_before(last: Any) -> None:
    frame, target = customers()
    model = make_pipeline(scaled_columns(), last).set_output(transform="default").fit(frame, target)
    frame.to_csv("rows.csv", index=False)

    report = run_export(pickled(model), sample=Path("rows.csv"), allow_pickle=True)

    assert report.passed, report.reasons
    assert report.parity.rows_over == 0


@pytest.mark.parametrize(
    "last", [xgboost.XGBRegressor(n_estimators=ROUNDS), lightgbm.LGBMRegressor(n_estimators=ROUNDS, verbose=-1)]
)
def test_numbers_behind_a_scaler_answer_as_before(last: Any) -> None:
    features, target = table("numbers")
    model = make_pipeline(StandardScaler(), last).fit(features, target)

    report = run_export(pickled(model), sample=saved_rows(x=features), allow_pickle=True)

    assert report.passed, report.reasons
    assert report.parity.rows_over == 0


def test_rows_between_a_threshold_and_its_nearest_float32_keep_their_side() -> None:
    # 0.1 lies between two float32; the nearest is above it, and a value of exactly that goes right.
    features = np.array([[0.1], [0.2]] * 40)
    model = lightgbm.LGBMRegressor(n_estimators=1, min_child_samples=1, verbose=-1).fit(features, features[:, 0])
    tree = prepared(model.booster_).dump_model()["tree_info"][0]["tree_structure"]
    threshold = model.booster_.dump_model()["tree_info"][0]["tree_structure"]["threshold"]
    on_edge = np.array([[np.float32(threshold)], [np.nextafter(np.float32(threshold), np.float32(np.inf))]], np.float32)

    sample = saved_rows(x=np.concatenate([features.astype(np.float32), on_edge]))
    report = run_export(pickled(model), sample=sample, allow_pickle=True)

    assert tree["threshold"] == np.float32(tree["threshold"]) <= threshold
    assert (report.passed, report.parity.rows_over) == (True, 0)


@pytest.mark.parametrize(
    ("booster", "name"),
    [
        (lambda: xgb_booster("binary", objective="binary:logistic")[0], "m.ubj"),
        (lambda: lgb_booster("binary", objective="binary")[0], "m.lgb"),
    ],
)
def test_a_file_of_its_own_format_needs_no_permission(booster: Any, name: str) -> None:
    booster().save_model(name)

    report = run_export(name)

    assert (report.passed, report.framework) == (True, "xgboost" if name == "m.ubj" else "lightgbm")
    assert set(answers(Path("out.onnx"), {"input": np.zeros((2, 30), np.float32)})) == {"label", "probabilities"}


def test_a_csv_with_a_column_a_feature_feeds_the_one_matrix() -> None:
    features, target = load_iris(return_X_y=True, as_frame=True)
    model = xgboost.XGBClassifier(n_estimators=3).fit(features, target)
    pd.concat([features, target.rename("label")], axis=1).to_csv("rows.csv", index=False)

    report = run_export(pickled(model), sample=Path("rows.csv"), allow_pickle=True)

    assert (report.passed, report.signature.inputs[0].dims) == (True, ("batch", 4))


@pytest.mark.parametrize("name", ["m.ubj", "m.lgb"])
@pytest.mark.parametrize("content", [b"", b"hello", b"tree\nversion=v4\nnum_class=1\n"])
def test_a_broken_file_is_refused(name: str, content: bytes) -> None:
    Path(name).write_bytes(content)

    with pytest.raises(InvalidInput, match="is not a file of"):
        run_export(name)


@pytest.mark.parametrize("booster", ["gblinear", "dart"])
def test_boosters_without_a_converter_are_named(booster: str) -> None:
    model, _ = xgb("numbers", xgboost.XGBRegressor(booster=booster))

    with pytest.raises(Unsupported, match=booster):
        run_export(pickled(model), allow_pickle=True)


def test_a_missing_value_other_than_nan_is_refused() -> None:
    model, _ = xgb("binary", xgboost.XGBClassifier(missing=-999.0))

    with pytest.raises(Unsupported, match="-999"):
        run_export(pickled(model), allow_pickle=True)


@pytest.mark.parametrize("model", [xgboost.XGBClassifier(), lightgbm.LGBMRegressor()])
def test_a_model_that_was_not_fitted_is_refused(model: Any) -> None:
    with pytest.raises(InvalidInput, match="was not fitted"):
        run_export(pickled(model), allow_pickle=True)


def test_dynamic_axes_are_not_for_trees() -> None:
    model, _ = xgb("binary", xgboost.XGBClassifier())

    with pytest.raises(UsageError, match="always dynamic"):
        run_export(pickled(model), allow_pickle=True, dynamic="0=rows")


def test_the_same_model_gives_the_same_bytes() -> None:
    model, features = lgb("classes", lightgbm.LGBMClassifier())
    source, sample = pickled(model), saved_rows(x=features)

    first = run_export(source, Path("a.onnx"), sample=sample, allow_pickle=True)
    second = run_export(source, Path("b.onnx"), sample=sample, allow_pickle=True)

    assert Path("a.onnx").read_bytes() == Path("b.onnx").read_bytes()
    assert first.passed
    assert second.passed
