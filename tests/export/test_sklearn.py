"""scikit-learn models as people have them, exported and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC

from mlserve.errors import InvalidInput, Unsupported, UsageError
from tests.export.exports import answers, pickled, run_export, saved_rows

ROWS = 240


def customers(seed: int = 0) -> tuple[pd.DataFrame, Any]:
    """A table as they come: ages with gaps, counts, cities, postal codes that look like numbers."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "age": rng.normal(40, 10, ROWS).round(1).astype(np.float32).astype(np.float64),
            "visits": rng.integers(0, 9, ROWS),
            "city": rng.choice(["Bern", "Oslo", "Łódź"], ROWS),
            "postcode": rng.choice(["0150", "3011", "9001"], ROWS),
        }
    )
    target = (table["visits"] + table["age"].to_numpy() / 20 + rng.normal(0, 1, ROWS) > 6).astype(int)
    table.loc[::7, "age"] = np.nan
    return table, target


def scaled_columns() -> ColumnTransformer:
    return ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "visits"]),
            ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["city", "postcode"]),
        ]
    )


def coded_columns() -> ColumnTransformer:
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return ColumnTransformer([("words", codes, ["city", "postcode"])], remainder="passthrough")


def numbers(seed: int = 0, features: int = 5) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(ROWS, features)).astype(np.float32)
    return table, (table[:, 0] + table[:, 1] ** 2 > 0.5).astype(int)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(make_pipeline(scaled_columns(), LogisticRegression()), id="logistic regression"),
        pytest.param(make_pipeline(scaled_columns(), Ridge()), id="ridge"),
        pytest.param(make_pipeline(scaled_columns(), GradientBoostingClassifier(n_estimators=20)), id="boosting"),
        pytest.param(make_pipeline(scaled_columns(), RandomForestClassifier(20, random_state=0)), id="forest"),
        pytest.param(make_pipeline(coded_columns(), HistGradientBoostingClassifier(max_iter=20)), id="histogram"),
        pytest.param(make_pipeline(coded_columns(), HistGradientBoostingRegressor(max_iter=20)), id="histogram number"),
    ],
)
def test_a_data_frame_with_gaps_and_words_gives_the_same_answers(model: Any) -> None:
    table, target = customers()
    train, held = slice(0, 160), slice(160, None)
    pickled(model.fit(table[train], target[train]))
    table[held].assign(label=target[held]).to_csv("held.csv", index=False)

    report = run_export("model.joblib", sample=Path("held.csv"), allow_pickle=True)

    assert report.reasons == ()
    assert report.parity.rows == ROWS - 160
    assert {check.name for check in report.parity.checks} >= {
        "sample",
        "batch of 1",
        "batch of 3",
        "smallest values",
        "largest values",
        "missing values",
        "unknown category",
    }
    assert [spec.name for spec in report.signature.inputs] == ["age", "visits", "city", "postcode"]
    assert report.signature.batch_dim == "batch"


def test_rows_on_a_threshold_keep_their_side_after_imputing_and_scaling() -> None:
    table, target = customers()
    names = ["age", "visits"]
    front = make_pipeline(SimpleImputer(), StandardScaler())
    model = make_pipeline(front, RandomForestClassifier(50, random_state=0)).fit(table[names], target)
    table[names].to_parquet("rows.parquet")

    report = run_export(pickled(model), sample=Path("rows.parquet"), allow_pickle=True)

    assert report.parity.rows_over == 0


@pytest.mark.parametrize(
    "scaler",
    [StandardScaler(with_mean=False), MinMaxScaler(), MinMaxScaler(clip=True)],
    ids=["spread", "range", "clip"],
)
def test_every_scaler_in_front_of_trees_is_converted(scaler: Any) -> None:
    table, target = numbers()
    model = make_pipeline(scaler, HistGradientBoostingClassifier(max_iter=10)).fit(table, target)

    report = run_export(pickled(model), sample=saved_rows(x=table), allow_pickle=True, allow_mismatch=5)

    assert report.passed


def test_a_classifier_gives_labels_and_probabilities_as_plain_tensors() -> None:
    table, target = numbers()
    model = LogisticRegression().fit(table, np.where(target, "yes", "no"))

    report = run_export(pickled(model), sample=saved_rows(rows=table), allow_pickle=True)

    given = answers(report.output, {"rows": table})
    assert given["label"].tolist() == model.predict(table).tolist()
    np.testing.assert_allclose(given["probabilities"], model.predict_proba(table), atol=1e-5)


def test_a_csv_of_numbers_feeds_one_matrix_input() -> None:
    data = load_breast_cancer(as_frame=True)
    model = make_pipeline(StandardScaler(), MLPClassifier([8], max_iter=500, tol=1e-2, random_state=0))
    model.fit(data.data[:300], data.target[:300])
    data.frame[300:].rename(columns={"target": "label"}).to_csv("held.csv", index=False)

    report = run_export(pickled(model), sample=Path("held.csv"), allow_pickle=True)

    assert report.passed
    assert [(spec.name, spec.dims) for spec in report.signature.inputs] == [("input", ("batch", 30))]


def test_a_label_of_another_name_is_not_a_feature() -> None:
    from mlserve.rows.reading import Roles

    table, target = numbers()
    frame = pd.DataFrame(table, columns=list("abcde")).assign(churned=target)
    frame.to_csv("rows.csv", index=False)
    model = LogisticRegression().fit(table, target)

    report = run_export(pickled(model), sample=Path("rows.csv"), allow_pickle=True, roles=Roles(label="churned"))

    assert report.passed


def test_a_skops_file_needs_no_permission() -> None:
    table, target = numbers()
    model = make_pipeline(StandardScaler(), MLPClassifier([4], max_iter=500, tol=1e-2, random_state=0))
    skops.io.dump(model.fit(table, target), "model.skops")

    report = run_export("model.skops", sample=saved_rows(x=table))

    assert report.framework == "sklearn"
    assert report.passed


def test_without_a_sample_rows_are_made_up_and_the_report_says_so() -> None:
    table, target = numbers()

    report = run_export(pickled(LinearRegression().fit(table, target)), allow_pickle=True)

    assert report.passed
    assert report.sample == "made up"
    assert any("--sample" in note for note in report.notes)


def test_without_a_sample_columns_of_unknown_content_are_refused() -> None:
    table, target = customers()
    model = make_pipeline(scaled_columns(), LogisticRegression()).fit(table, target)

    with pytest.raises(UsageError) as caught:
        run_export(pickled(model), allow_pickle=True)

    assert "--sample" in str(caught.value.hint)


def test_the_same_model_gives_the_same_bytes() -> None:
    table, target = numbers()
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(table, target)
    sample = saved_rows(x=table)

    first = run_export(pickled(model, Path("a.joblib")), sample=sample, allow_pickle=True)
    second = run_export(pickled(model, Path("b.joblib")), sample=sample, allow_pickle=True)

    assert first.digest == second.digest


@pytest.mark.parametrize(
    ("model", "outputs"),
    [
        pytest.param(SVC(), ["label"], id="margin of two classes"),
        pytest.param(LinearSVC(), ["label"], id="linear margin"),
        pytest.param(RidgeClassifier(), ["label"], id="ridge"),
        pytest.param(IsolationForest(n_estimators=20, random_state=0), ["label", "scores"], id="outliers"),
        pytest.param(KMeans(3, n_init=1, random_state=0), ["label", "scores"], id="clusters"),
        pytest.param(StandardScaler(), ["output"], id="transformer"),
        pytest.param(
            GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=2), ["label", "probabilities"], id="search"
        ),
    ],
)
def test_outputs_are_called_by_what_they_are(model: Any, outputs: list[str]) -> None:
    table, target = numbers()

    report = run_export(pickled(model.fit(table, target)), sample=saved_rows(x=table), allow_pickle=True)

    assert report.reasons == ()
    assert [spec.name for spec in report.signature.outputs] == outputs


def test_scores_of_three_classes_without_probabilities_are_compared() -> None:
    table, _ = numbers()
    model = SVC().fit(table, np.digitize(table[:, 0], [-0.5, 0.5]))

    report = run_export(pickled(model), sample=saved_rows(x=table), allow_pickle=True)

    assert report.passed
    assert [spec.name for spec in report.signature.outputs] == ["label", "scores"]


def test_whole_numbers_and_fractions_share_a_step_of_a_linear_pipeline() -> None:
    table, target = customers()
    model = make_pipeline(scaled_columns(), LogisticRegression()).fit(table, target)
    table.to_csv("table.csv", index=False)

    report = run_export(pickled(model), sample=Path("table.csv"), allow_pickle=True)

    assert report.passed
    assert [spec.dtype for spec in report.signature.inputs] == ["float32", "float32", "string", "string"]


def test_codes_that_an_encoder_learnt_stay_whole_numbers() -> None:
    table, target = customers()
    columns = ColumnTransformer([("codes", OneHotEncoder(), ["visits"]), ("rest", SimpleImputer(), ["age"])])
    model = make_pipeline(columns, LogisticRegression()).fit(table[["visits", "age"]], target)
    table[["visits", "age"]].to_csv("table.csv", index=False)

    report = run_export(pickled(model), sample=Path("table.csv"), allow_pickle=True)

    assert report.passed
    assert [spec.dtype for spec in report.signature.inputs] == ["int64", "float32"]


def test_a_column_of_dates_is_named() -> None:
    table, target = customers()
    table["since"] = pd.Timestamp("2026-01-02")
    pass_on = ColumnTransformer([("n", SimpleImputer(), ["age"])])
    model = make_pipeline(pass_on, LogisticRegression()).fit(table, target)
    table.to_parquet("table.parquet")

    with pytest.raises(Unsupported, match="column 'since' of the sample"):
        run_export(pickled(model), sample=Path("table.parquet"), allow_pickle=True)


TEXTS = ["win a prize now", "naïve café au lait", "meet me at 3", "łódź or a_b", "cheap pills", "straße nach x"] * 5


@pytest.mark.parametrize("last", [LogisticRegression(), LinearSVC()], ids=str)
@pytest.mark.parametrize("words", [TfidfVectorizer(), CountVectorizer(ngram_range=(1, 2))], ids=["words", "pairs"])
def test_texts_are_split_into_the_words_of_scikit_learn(words: Any, last: Any) -> None:
    model = make_pipeline(words, last).fit(TEXTS, [1, 0, 0, 0, 1, 0] * 5)

    report = run_export(pickled(model), sample=saved_rows(text=np.array(TEXTS)), allow_pickle=True)

    assert report.passed, report.reasons


def test_a_column_of_texts_lies_beside_numbers() -> None:
    table = pd.DataFrame({"comment": TEXTS, "age": np.arange(30)})
    columns = ColumnTransformer([("words", TfidfVectorizer(), "comment"), ("n", StandardScaler(), ["age"])])
    model = make_pipeline(columns, LogisticRegression()).fit(table, [1, 0, 0, 0, 1, 0] * 5)
    table.to_csv("table.csv", index=False)

    assert run_export(pickled(model), sample=Path("table.csv"), allow_pickle=True).passed


def test_labels_that_are_floats_are_compared_as_whole_numbers() -> None:
    features, target = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, target.astype(float))

    report = run_export(pickled(model), sample=saved_rows(input=features), allow_pickle=True)

    assert report.passed, report.reasons


def test_an_ensemble_that_votes_is_converted_also_inside_a_pipeline() -> None:
    features, target = load_breast_cancer(return_X_y=True)
    voters = [("line", LogisticRegression()), ("trees", RandomForestClassifier(5, random_state=0))]
    model = make_pipeline(StandardScaler(), VotingClassifier(voters, voting="soft")).fit(features, target)

    assert run_export(pickled(model), sample=saved_rows(input=features), allow_pickle=True).passed


def test_a_forest_of_two_labels_a_row_is_refused_by_what_it_gives() -> None:
    features, target = load_breast_cancer(return_X_y=True)
    model = RandomForestClassifier(3, random_state=0).fit(features, np.stack([target, 1 - target], axis=1))

    with pytest.raises(Unsupported, match="several labels a row"):
        run_export(pickled(model), sample=saved_rows(input=features), allow_pickle=True)


@pytest.mark.parametrize("model", [RandomForestRegressor(3, random_state=0), LinearRegression()], ids=str)
def test_what_the_signature_declares_is_what_the_graph_gives(model: Any) -> None:
    features = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    model.fit(features, features[:, :2])

    report = run_export(pickled(model), sample=saved_rows(input=features), allow_pickle=True)

    assert report.passed
    assert [spec.dims for spec in report.signature.outputs] == [("batch", 2)]


def test_text_is_one_input_and_loads_without_the_american_locale() -> None:
    texts = np.array(["cheap pills now", "see you at noon", "pills pills", "noon is fine"] * 5, dtype=object)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0, 1, 0] * 5)
    pd.DataFrame({"message": texts}).to_parquet("rows.parquet")

    report = run_export(pickled(model), sample=Path("rows.parquet"), allow_pickle=True)

    assert report.passed
    assert [(spec.name, spec.dims) for spec in report.signature.inputs] == [("message", ("batch",))]


def _fitted_frame() -> Any:
    table, target = numbers()
    return LogisticRegression().fit(pd.DataFrame(table, columns=list("abcde")), target)


@pytest.mark.parametrize(
    ("columns", "fact"),
    [
        pytest.param("abcd", "no column 'e'", id="one missing"),
        pytest.param("bacde", "another order", id="another order"),
    ],
)
def test_a_sample_with_other_columns_than_the_fit_is_refused(columns: str, fact: str) -> None:
    table, _ = numbers()
    pd.DataFrame(table[:, : len(columns)], columns=list(columns)).to_csv("rows.csv", index=False)

    with pytest.raises(InvalidInput, match=fact):
        run_export(pickled(_fitted_frame()), sample=Path("rows.csv"), allow_pickle=True)


def test_a_sample_with_another_number_of_features_is_refused() -> None:
    table, target = numbers()
    model = LogisticRegression().fit(table, target)

    with pytest.raises(InvalidInput, match="4 features, the estimator was fitted with 5"):
        run_export(pickled(model), sample=saved_rows(x=table[:, :4]), allow_pickle=True)


def test_an_estimator_that_was_not_fitted_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not fitted"):
        run_export(pickled(LogisticRegression()), allow_pickle=True)


def test_a_step_without_a_converter_is_named() -> None:
    table, target = numbers()
    model = make_pipeline(FunctionTransformer(np.abs), LogisticRegression()).fit(table, target)

    with pytest.raises(Unsupported, match="FunctionTransformer"):
        run_export(pickled(model), sample=saved_rows(x=table), allow_pickle=True)


class Constant(BaseEstimator):  # type: ignore[misc]
    """An estimator of the user's own, which no converter knows."""

    def fit(self, table: Any, target: Any) -> Constant:
        self.n_features_in_ = table.shape[1]
        return self

    def predict(self, table: Any) -> Any:
        return table[:, 0]


def test_an_estimator_of_the_users_own_is_refused_by_name() -> None:
    table, _ = numbers()
    Path("own.py").write_text(
        "from tests.export.test_sklearn import Constant, numbers\ndef build(): return Constant().fit(*numbers())\n"
    )

    with pytest.raises(Unsupported, match="Constant"):
        run_export("own.py:build", sample=saved_rows(x=table))


def test_dynamic_axes_are_not_for_tables() -> None:
    table, target = numbers()

    with pytest.raises(UsageError, match="always dynamic"):
        run_export(pickled(LinearRegression().fit(table, target)), allow_pickle=True, dynamic="0=batch")
