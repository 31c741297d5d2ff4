"""The matrix's models of tables: scikit-learn's estimators and pipelines, XGBoost, LightGBM; held-out rows as sample.

Each case is a function that writes model and sample into the working directory and gives the arguments of ``export``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import xgboost
from sklearn import (
    calibration,
    cluster,
    decomposition,
    discriminant_analysis,
    ensemble,
    linear_model,
    mixture,
    multiclass,
    naive_bayes,
    neighbors,
    neural_network,
    svm,
    tree,
)
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)

from tests.export.exports import pickled, saved_rows

Case = Callable[[], dict[str, Any]]
LOADERS = {"binary": load_breast_cancer, "classes": load_iris, "numbers": load_diabetes, "digits": load_digits}


def held(kind: str, model: Any, dtype: str = "float32", *, gaps: bool = False) -> Case:
    """``model`` fitted on two thirds of a table, the last third its sample; with ``gaps`` a tenth of it is NaN."""

    def build() -> dict[str, Any]:
        table, target = LOADERS[kind](return_X_y=True)
        order = np.random.default_rng(0).permutation(len(table))
        table, target = table[order].astype(dtype), target[order]
        if gaps:
            table[np.random.default_rng(1).random(table.shape) < 0.1] = np.nan
        seen = len(table) * 2 // 3
        model.fit(table[:seen], target[:seen])
        return {"source": pickled(model), "sample": saved_rows(input=table[seen:]), "allow_pickle": True}

    return build


def scaled(kind: str, last: Any, dtype: str = "float32") -> Case:
    return held(kind, make_pipeline(StandardScaler(), last), dtype)


def people(count: int = 180) -> tuple[pd.DataFrame, Any]:
    """Ages with gaps, counts, cities with gaps, a yes or no."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 10, count).round(1),
            "visits": rng.integers(0, 9, count),
            "city": rng.choice(["Bern", "Oslo", "Łódź"], count),
            "plan": rng.choice(["free", "paid"], count),
        }
    )
    target = (frame["visits"] + frame["age"] / 20 + rng.normal(0, 1, count) > 6).astype(int)
    frame.loc[::7, "age"] = np.nan
    return frame, target


def framed(front: Callable[[], ColumnTransformer], last: Any, suffix: str = "csv") -> Case:
    def build() -> dict[str, Any]:
        frame, target = people()
        model = make_pipeline(front(), last).fit(frame[:120], target[:120])
        sample = Path(f"held.{suffix}")
        frame[120:].to_csv(sample, index=False) if suffix == "csv" else frame[120:].to_parquet(sample)
        return {"source": pickled(model), "sample": sample, "allow_pickle": True}

    return build


def one_hot() -> ColumnTransformer:
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer([("numbers", numbers, ["age", "visits"]), ("words", words, ["city", "plan"])])


def coded() -> ColumnTransformer:
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return ColumnTransformer([("words", codes, ["city", "plan"])], remainder="passthrough")


def sparse() -> ColumnTransformer:
    return ColumnTransformer([("words", OneHotEncoder(handle_unknown="ignore"), ["city"])], remainder="drop")


TEXTS = ["win a prize now", "see you at noon", "cheap pills here", "lunch is fine", "prize pills", "noon it is"] * 5


def texts(words: Any, last: Any) -> Case:
    def build() -> dict[str, Any]:
        model = make_pipeline(words, last).fit(TEXTS, [1, 0, 1, 0, 1, 0] * 5)
        return {"source": pickled(model), "sample": saved_rows(text=np.array(TEXTS[:9])), "allow_pickle": True}

    return build


def ranked(model: Any) -> Case:
    def build() -> dict[str, Any]:
        table, target = load_diabetes(return_X_y=True)
        table = table.astype(np.float32)
        model.fit(table[:300], target[:300] > 150, group=[100, 200])
        return {"source": pickled(model), "sample": saved_rows(input=table[300:]), "allow_pickle": True}

    return build


def xgb_file(kind: str, **params: Any) -> Case:
    def build() -> dict[str, Any]:
        table, target = LOADERS[kind](return_X_y=True)
        xgboost.train(params, xgboost.DMatrix(table, target), 8).save_model("model.ubj")
        return {"source": "model.ubj", "sample": saved_rows(input=table.astype(np.float32))}

    return build


def lgb_file(kind: str, **params: Any) -> Case:
    def build() -> dict[str, Any]:
        table, target = LOADERS[kind](return_X_y=True)
        lightgbm.train({"verbose": -1} | params, lightgbm.Dataset(table, target), 8).save_model("model.lgb")
        return {"source": "model.lgb", "sample": saved_rows(input=table.astype(np.float32))}

    return build


FOREST = {"n_estimators": 12, "random_state": 0}
LGB = {"n_estimators": 12, "verbose": -1}

SKLEARN: dict[str, Case] = {
    "logistic regression": scaled("binary", linear_model.LogisticRegression()),
    "logistic regression of classes, float64": scaled("classes", linear_model.LogisticRegression(), "float64"),
    "logistic regression of whole numbers": held("digits", linear_model.LogisticRegression(max_iter=3000), "int64"),
    "stochastic gradient": scaled("binary", linear_model.SGDClassifier(loss="log_loss", random_state=0)),
    "perceptron": scaled("binary", linear_model.Perceptron(random_state=0)),
    "ridge classes": scaled("classes", linear_model.RidgeClassifier()),
    "linear margin": scaled("classes", svm.LinearSVC()),
    "margin": scaled("binary", svm.SVC()),
    "neighbours": held("classes", neighbors.KNeighborsClassifier()),
    "gaussian bayes": held("classes", naive_bayes.GaussianNB()),
    "bernoulli bayes": held("digits", naive_bayes.BernoulliNB(binarize=8.0)),
    "multinomial bayes": held("classes", naive_bayes.MultinomialNB()),
    "tree": held("binary", tree.DecisionTreeClassifier(random_state=0)),
    "extra trees": held("classes", ensemble.ExtraTreesClassifier(**FOREST)),
    "forest, float64": held("binary", ensemble.RandomForestClassifier(**FOREST), "float64"),
    "gradient boosting": held("binary", ensemble.GradientBoostingClassifier(**FOREST)),
    "histogram boosting with gaps": held("binary", ensemble.HistGradientBoostingClassifier(max_iter=12), gaps=True),
    "histogram boosting of classes": held("classes", ensemble.HistGradientBoostingClassifier(max_iter=12)),
    "bagging": held("classes", ensemble.BaggingClassifier(n_estimators=5, random_state=0)),
    "network": scaled("binary", neural_network.MLPClassifier([8], max_iter=900, tol=1e-2, random_state=0)),
    "linear discriminant": held("classes", discriminant_analysis.LinearDiscriminantAnalysis()),
    "quadratic discriminant": held("classes", discriminant_analysis.QuadraticDiscriminantAnalysis()),
    "one against the rest": scaled("classes", multiclass.OneVsRestClassifier(linear_model.LogisticRegression())),
    "calibrated": scaled("binary", calibration.CalibratedClassifierCV(svm.LinearSVC(), cv=2)),
    "voting": scaled(
        "binary",
        ensemble.VotingClassifier(
            [("line", linear_model.LogisticRegression()), ("trees", ensemble.RandomForestClassifier(**FOREST))],
            voting="soft",
        ),
    ),
    "stacking": held(
        "classes",
        ensemble.StackingClassifier(
            [("bayes", naive_bayes.GaussianNB()), ("tree", tree.DecisionTreeClassifier(random_state=0))], cv=2
        ),
    ),
    "search": scaled("binary", GridSearchCV(linear_model.LogisticRegression(), {"C": [0.1, 1]}, cv=2)),
    "linear regression": held("numbers", linear_model.LinearRegression()),
    "lasso, float64": held("numbers", linear_model.Lasso(alpha=0.1), "float64"),
    "elastic net": held("numbers", linear_model.ElasticNet(alpha=0.1)),
    "bayesian ridge": held("numbers", linear_model.BayesianRidge()),
    "huber": held("numbers", linear_model.HuberRegressor(max_iter=1000)),
    "poisson regression": held("numbers", linear_model.PoissonRegressor()),
    "margin of numbers": held("numbers", svm.SVR()),
    "neighbours of numbers": held("numbers", neighbors.KNeighborsRegressor()),
    "forest of numbers": held("numbers", ensemble.RandomForestRegressor(**FOREST)),
    "boosting of numbers": held("numbers", ensemble.GradientBoostingRegressor(**FOREST)),
    "histogram boosting of numbers": held("numbers", ensemble.HistGradientBoostingRegressor(max_iter=30)),
    "network of numbers": scaled(
        "numbers", neural_network.MLPRegressor(hidden_layer_sizes=[8], max_iter=900, tol=1.0, random_state=0)
    ),
    "stacking of numbers": held(
        "numbers",
        ensemble.StackingRegressor(
            [("line", linear_model.Ridge()), ("tree", tree.DecisionTreeRegressor(max_depth=3, random_state=0))], cv=2
        ),
    ),
    "voting of numbers": held(
        "numbers",
        ensemble.VotingRegressor(
            [("line", linear_model.Ridge()), ("tree", tree.DecisionTreeRegressor(max_depth=3, random_state=0))]
        ),
    ),
    "means": scaled("classes", cluster.KMeans(3, n_init=1, random_state=0)),
    "mixture": held("classes", mixture.GaussianMixture(3, random_state=0)),
    "outliers": held("classes", ensemble.IsolationForest(**FOREST)),
    "components": held("digits", decomposition.PCA(5, random_state=0)),
    "truncated components": held("digits", decomposition.TruncatedSVD(5, random_state=0)),
    "union of features": held(
        "binary",
        make_pipeline(
            FeatureUnion([("parts", decomposition.PCA(3, random_state=0)), ("best", SelectKBest(k=4))]),
            linear_model.LogisticRegression(max_iter=3000),
        ),
    ),
    "polynomials": held("classes", make_pipeline(PolynomialFeatures(2), linear_model.Ridge())),
    "bins": held("classes", make_pipeline(KBinsDiscretizer(4, encode="ordinal"), tree.DecisionTreeClassifier())),
    "robust scaler and few columns": held(
        "binary", make_pipeline(RobustScaler(), VarianceThreshold(0.1), linear_model.LogisticRegression())
    ),
    "range scaler before neighbours": held("binary", make_pipeline(MinMaxScaler(), neighbors.KNeighborsClassifier())),
    "frame before a line": framed(one_hot, linear_model.LogisticRegression()),
    "frame before a forest, parquet": framed(one_hot, ensemble.RandomForestClassifier(**FOREST), "parquet"),
    "frame before boosting of numbers": framed(one_hot, ensemble.GradientBoostingRegressor(**FOREST)),
    "frame with categories": framed(
        coded, ensemble.HistGradientBoostingClassifier(max_iter=12, categorical_features=[0, 1])
    ),
    "frame of sparse words": framed(sparse, linear_model.LogisticRegression()),
    "texts by weight": texts(TfidfVectorizer(), linear_model.LogisticRegression()),
    "texts by pairs": texts(CountVectorizer(ngram_range=(1, 2)), naive_bayes.MultinomialNB()),
}

BOOSTED: dict[str, Case] = {
    "xgb classes": held("classes", xgboost.XGBClassifier(n_estimators=12)),
    "xgb two classes with gaps": held("binary", xgboost.XGBClassifier(n_estimators=12), gaps=True),
    "xgb numbers, float64": held("numbers", xgboost.XGBRegressor(n_estimators=12), "float64"),
    "xgb rank": ranked(xgboost.XGBRanker(n_estimators=12)),
    "xgb file": xgb_file("binary", objective="binary:logistic"),
    "xgb file of numbers": xgb_file("numbers", objective="reg:squarederror"),
    "xgb behind a frame": framed(one_hot, xgboost.XGBClassifier(n_estimators=12)),
    "lgb classes": held("classes", lightgbm.LGBMClassifier(**LGB)),
    "lgb two classes with gaps": held("binary", lightgbm.LGBMClassifier(**LGB), gaps=True),
    "lgb numbers, float64": held("numbers", lightgbm.LGBMRegressor(**LGB), "float64"),
    "lgb rank": ranked(lightgbm.LGBMRanker(**LGB)),
    "lgb file": lgb_file("binary", objective="binary"),
    "lgb file of classes": lgb_file("classes", objective="multiclass", num_class=3),
    "lgb behind a scaler": scaled("numbers", lightgbm.LGBMRegressor(**LGB), "float64"),
}
