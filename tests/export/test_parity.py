"""How two answers become a verdict, and which inputs they are taken on. No framework here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Dim, Signature, TensorSpec
from mlserve.errors import InvalidInput
from mlserve.export.cases import UNKNOWN_CATEGORY, edge_cases, shape_cases
from mlserve.export.parity import Case, Parity, Run, chunks, measure_parity, reasons, remarks

TOLERANCES: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5, "allow_mismatch": 0}


def double(inputs: Any) -> dict[str, Any]:
    return {"y": inputs["x"] * 2}


def off_by(amount: float, *, rows: int) -> Run:
    """Doubles, and is wrong by ``amount`` in the first ``rows`` rows."""

    def run(inputs: Any) -> dict[str, Any]:
        wrong = inputs["x"] * 2
        wrong[:rows] += amount
        return {"y": wrong}

    return run


def rows_of(count: int) -> dict[str, Any]:
    return {"x": np.arange(count, dtype=np.float32)[:, None] + 1}


def measured(graph: Run, count: int = 10, cases: list[Case] | None = None, **options: Any) -> Parity:
    return measure_parity(double, graph, chunks(rows_of(count), 4), cases or [], **(TOLERANCES | options))


def test_equal_answers_pass_with_every_row_counted() -> None:
    parity = measured(double)

    assert (parity.passed, parity.rows, parity.rows_over, parity.max_abs) == (True, 10, 0, 0.0)
    assert reasons(parity) == []


def test_rows_over_tolerance_are_counted_across_batches() -> None:
    parity = measured(off_by(0.5, rows=1))

    assert (parity.passed, parity.rows_over) == (False, 3)
    assert parity.max_abs == 0.5
    assert reasons(parity) == [
        "sample: 3 of 10 rows differ by more than 1e-05 + 0.0001 × value (largest 0.5; worst is row 0)"
    ]


@pytest.mark.parametrize(("allowed", "passed"), [(2, False), (3, True)])
def test_so_many_rows_may_differ_as_are_allowed(allowed: int, passed: bool) -> None:
    assert measured(off_by(0.5, rows=1), allow_mismatch=allowed).passed is passed


def test_labels_that_agree_are_counted_on_the_sample() -> None:
    def labels(inputs: Any) -> dict[str, Any]:
        return {"label": inputs["x"][:, 0].astype(np.int64)}

    def wrong_once(inputs: Any) -> dict[str, Any]:
        return {"label": np.where(inputs["x"][:, 0] == 3, 0, inputs["x"][:, 0]).astype(np.int64)}

    parity = measure_parity(labels, wrong_once, chunks(rows_of(10), 4), [], **TOLERANCES)

    assert (parity.agreement, parity.rows_over, parity.worst_row) == (0.9, 1, 2)


def test_numbers_decide_nothing_and_have_no_agreement() -> None:
    assert measured(double).agreement is None


def test_no_rows_prove_nothing() -> None:
    parity = measure_parity(double, double, [], [], **TOLERANCES)

    assert not parity.passed
    assert reasons(parity) == ["there were no rows to compare"]


def test_what_the_graph_alone_refuses_fails_with_its_reason() -> None:
    def refusing(inputs: Any) -> dict[str, Any]:
        if len(inputs["x"]) == 3:
            raise InvalidInput("Reshape {7,4,8}")
        return double(inputs)

    parity = measured(refusing, count=4, cases=[Case("batch of 3", rows_of(3))])

    assert not parity.passed
    assert reasons(parity) == ["batch of 3: the original answers, the graph does not: Reshape {7,4,8}"]


def test_a_case_that_the_original_refuses_is_left_out() -> None:
    def refusing(inputs: Any) -> dict[str, Any]:
        if len(inputs["x"]) == 3:
            raise InvalidInput("no")
        return double(inputs)

    parity = measure_parity(refusing, double, [rows_of(2)], [Case("batch of 3", rows_of(3))], **TOLERANCES)

    assert [check.name for check in parity.checks] == ["sample"]
    assert parity.passed


def test_a_case_that_is_not_required_is_a_remark() -> None:
    case = Case("odd rows", rows_of(2), is_required=False)

    def graph(inputs: Any) -> dict[str, Any]:
        return off_by(9.0, rows=1)(inputs) if len(inputs["x"]) == 2 else double(inputs)

    parity = measured(graph, count=4, cases=[case])

    assert parity.passed
    assert parity.max_abs == 0.0
    assert remarks(parity) == ["odd rows: the two differ in 1 of 2 rows; the sample has no such rows"]


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 1, 1)], ids=str)
def test_a_column_is_the_same_with_and_without_an_axis_of_one(shape: tuple[int, ...]) -> None:
    def flat(inputs: Any) -> dict[str, Any]:
        return {"y": inputs["x"].ravel()}

    def shaped(inputs: Any) -> dict[str, Any]:
        return {"y": inputs["x"].reshape(shape)}

    parity = measure_parity(flat, shaped, [rows_of(5)], [], **TOLERANCES)

    assert parity.passed


def test_other_shapes_are_other_answers() -> None:
    def shaped(inputs: Any) -> dict[str, Any]:
        return {"y": np.zeros((5, 2), np.float32)}

    assert measure_parity(double, shaped, [rows_of(5)], [], **TOLERANCES).rows_over == 5


def test_the_document_of_a_parity_is_plain_values() -> None:
    document = measured(double).to_dict()

    assert document["checks"][0]["name"] == "sample"
    assert set(document) >= {"passed", "max_abs", "max_rel", "rows", "rows_over"}


@given(st.integers(0, 40), st.integers(1, 9))
def test_pieces_hold_every_row_once_in_order(count: int, rows: int) -> None:
    pieces = list(chunks({"x": np.arange(count), "scalar": np.array(1.0)}, rows))

    assert np.concatenate([np.empty(0), *(piece["x"] for piece in pieces)]).tolist() == list(range(count))
    assert all(len(piece["x"]) <= rows for piece in pieces)


def signature(*dims: tuple[Dim, ...]) -> Signature:
    specs = tuple(TensorSpec(f"x{number}", DType.FLOAT32, dim) for number, dim in enumerate(dims))
    return Signature(specs, ())


def test_cases_of_shape_are_one_three_and_other_lengths() -> None:
    rows = {"x0": np.zeros((6, 7, 2)), "x1": np.zeros((6, 7))}

    cases = list(shape_cases(rows, signature(("batch", "sequence", 2), ("batch", "sequence"))))

    assert [(case.name, case.inputs["x0"].shape, case.inputs["x1"].shape) for case in cases] == [
        ("batch of 1", (1, 7, 2), (1, 7)),
        ("batch of 3", (3, 7, 2), (3, 7)),
        ("sequence of 3", (4, 3, 2), (4, 3)),
        ("sequence of 10", (4, 10, 2), (4, 10)),
    ]


def test_a_length_of_one_is_only_made_longer() -> None:
    cases = list(shape_cases({"x0": np.zeros((2, 1))}, signature(("batch", "sequence"))))

    assert [case.name for case in cases][2:] == ["sequence of 4"]


@pytest.mark.parametrize("dims", [((4, 2),), (("batch", 2), ("other", 2)), ((),)], ids=["fixed", "two axes", "scalar"])
def test_there_are_no_cases_of_shape_without_a_common_batch(dims: Any) -> None:
    rows = {f"x{number}": np.zeros([2] * len(dim)) for number, dim in enumerate(dims)}

    assert list(shape_cases(rows, signature(*dims))) == []


def test_edge_rows_are_extremes_gaps_and_unknown_words() -> None:
    rows: dict[str, Any] = {
        "table": np.array([[1.0, np.nan], [3.0, 5.0]], np.float32),
        "word": np.array([["a"], ["b"]], object),
        "count": np.array([[1], [2]]),
    }

    cases = {case.name: case for case in edge_cases(rows)}

    assert cases["smallest values"].inputs["table"].tolist() == [[1.0, 5.0]]
    assert cases["largest values"].inputs["table"].tolist() == [[3.0, 5.0]]
    np.testing.assert_equal(cases["missing values"].inputs["table"], [[1.0, np.nan]])
    np.testing.assert_equal(cases["missing values in columns without any"].inputs["table"], [[np.nan, np.nan]])
    assert not cases["missing values in columns without any"].is_required
    assert cases["unknown category"].inputs["word"].tolist() == [[UNKNOWN_CATEGORY]]
    assert cases["unknown category"].inputs["count"].tolist() == [[1]]


def test_edge_rows_leave_the_sample_as_it_is() -> None:
    rows: dict[str, Any] = {"table": np.ones((2, 3), np.float32)}

    list(edge_cases(rows))

    assert rows["table"].tolist() == np.ones((2, 3)).tolist()


def test_a_table_of_words_alone_has_no_extremes() -> None:
    assert [case.name for case in edge_cases({"w": np.array([["a"]], object)})] == ["unknown category"]
