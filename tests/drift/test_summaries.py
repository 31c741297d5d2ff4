"""Summaries of very many rows: exact where they count, the same in any pieces, close where they estimate."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from mlserve.drift.categorical import TRACKED, CategorySummary
from mlserve.drift.distinct import Distinct
from mlserve.drift.effects import effect
from mlserve.drift.hashing import priorities, row_hashes
from mlserve.drift.numeric import NumericSummary, edges_of
from mlserve.drift.profile import summary_of
from mlserve.drift.sample import RowSample
from mlserve.errors import InvalidInput

NUMBERS = hnp.arrays(np.float32, st.integers(0, 60), elements=st.floats(-1e6, 1e6, width=32) | st.just(np.nan))
TEXTS = st.lists(st.sampled_from(["a", "b", "c", None]), max_size=60).map(lambda found: np.array(found, object))
NORMAL = np.random.default_rng(0).normal(size=50_000)


def summary(values: np.ndarray, edges: np.ndarray | None = None) -> NumericSummary:
    found = NumericSummary(edges_of(values) if edges is None else edges)
    found.add(values)
    return found


def counted(values: np.ndarray, **options: object) -> CategorySummary:
    found = CategorySummary(**options)  # type: ignore[arg-type]
    found.add(values)
    return found


@given(NUMBERS, st.integers(0, 60))
def test_numbers_in_two_pieces_merge_to_the_whole(values: np.ndarray, cut: int) -> None:
    whole = summary(values)
    one, other = summary(values[:cut], whole.edges), summary(values[cut:], whole.edges)

    one.merge(other)

    assert one.counts.tolist() == whole.counts.tolist()
    assert (one.rows, one.nulls, one.smallest, one.largest) == (len(values), whole.nulls, whole.smallest, whole.largest)
    # Sums of float64 in another order.
    assert one.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-6)
    assert one.squares == pytest.approx(whole.squares, rel=1e-9, abs=1e-3)
    assert one.sums == pytest.approx(whole.sums, rel=1e-9, abs=1e-6)


def test_what_is_no_number_is_counted_apart() -> None:
    values = np.array([1.0, np.nan, np.inf, -np.inf, 3.0, np.nan])

    found = NumericSummary(np.array([1.0]), low=2.0, high=2.5)
    found.add(values)

    assert (found.rows, found.nulls, found.positive_infinities, found.negative_infinities) == (6, 2, 1, 1)
    assert (found.finite, found.mean, found.below, found.above) == (2, 2.0, 1, 1)
    assert found.counts.tolist() == [1, 1]


def test_moments_are_those_of_numpy() -> None:
    found = summary(NORMAL.astype(np.float32))

    assert found.mean == pytest.approx(NORMAL.astype(np.float32).mean(dtype=np.float64), abs=1e-9)
    assert found.sd == pytest.approx(NORMAL.astype(np.float32).std(dtype=np.float64), rel=1e-9)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.25, 0.5, 0.9, 0.999])
def test_a_quantile_is_right_to_within_its_cell(share: float) -> None:
    found = summary(NORMAL)

    assert found.quantile(share) is not None
    rank = np.searchsorted(np.sort(NORMAL), found.quantile(share)) / len(NORMAL)
    assert rank == pytest.approx(share, abs=1 / len(found.counts))


def test_few_different_values_have_a_cell_each() -> None:
    values = np.random.default_rng(1).integers(0, 5, 1000).astype(np.float32)

    found = summary(values)

    assert found.counts.tolist() == np.bincount(values.astype(int)).tolist()
    assert found.centres.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.int64, np.float16, np.float32, np.bool_])
def test_every_number_type_is_counted(kind: type) -> None:
    values = np.array([0, 1, 1, 1], kind)

    assert summary(values).counts.tolist() == [1, 3]


def test_a_constant_column_and_an_empty_one_are_known_as_such() -> None:
    assert summary(np.full(10, 7.0)).is_constant
    assert not summary(np.array([1.0, 2.0])).is_constant
    assert not summary(np.full(3, np.nan)).is_constant
    assert summary(np.zeros(0)).quantile(0.5) is None


def test_summaries_of_other_cells_do_not_merge() -> None:
    with pytest.raises(InvalidInput, match="different cells"):
        summary(np.array([1.0, 2.0])).merge(summary(np.array([1.0, 3.0, 4.0])))


@given(TEXTS, st.integers(0, 60))
def test_categories_in_two_pieces_merge_to_the_whole(values: np.ndarray, cut: int) -> None:
    one, other, whole = counted(values[:cut]), counted(values[cut:]), counted(values)

    one.merge(other)

    assert one.to_dict() == whole.to_dict()
    assert whole.nulls == sum(value is None for value in values)


def test_numbers_and_booleans_are_categories_under_their_text() -> None:
    assert counted(np.array([1.0, 2.0, np.nan, 1.0])).counts == {"1": 2, "2": 1}
    assert counted(np.array([True, False, True])).counts == {"true": 2, "false": 1}
    assert counted(np.array([3, 3], np.int64)).counts == {"3": 2}
    assert counted(np.array(["a", 1, None], object)).counts == {"a": 1, "1": 1}


def test_ever_new_values_take_no_more_memory_and_known_ones_stay() -> None:
    found = CategorySummary(known=frozenset(["kept"]))
    found.add(np.array(["kept"], object))

    for start in range(0, 20_000, 1000):
        found.add(np.array([f"new {i}" for i in range(start, start + 1000)], object))

    assert len(found.counts) <= TRACKED + 1
    assert found.counts["kept"] == 1
    assert sum(found.counts.values()) + found.other == found.rows == 20_001


def test_values_that_the_reference_has_not_are_listed_by_how_often_they_come() -> None:
    found = counted(np.array(["a", "x", "y", "y"], object))

    assert found.unseen(frozenset("a")) == {"y": 2, "x": 1}


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(summary(np.array([1.0, np.nan, np.inf])), id="numeric"),
        pytest.param(summary(np.zeros(0)), id="nothing"),
        pytest.param(counted(np.array(["é", None], object)), id="categorical"),
    ],
)
def test_a_summary_comes_back_from_json(found: NumericSummary | CategorySummary) -> None:
    text = json.dumps(found.to_dict(), allow_nan=False)

    assert summary_of(json.loads(text)).to_dict() == found.to_dict()


@pytest.mark.parametrize(
    "moved",
    [
        pytest.param(lambda v: v + 0.3, id="shift"),
        pytest.param(lambda v: v * 1.5, id="spread"),
        pytest.param(lambda v: v * 1000, id="unit"),
        pytest.param(np.abs, id="sign"),
    ],
)
def test_the_effect_of_numbers_is_scipys_distance_in_standard_deviations(moved: object) -> None:
    other = moved(np.random.default_rng(2).normal(size=20_000))  # type: ignore[operator]
    reference = summary(NORMAL)
    window = summary(other, reference.edges)

    measured = effect(reference, window)

    # The cells are 1/128 of the rows each; what moves within one is not seen, and seen once if its mean moves.
    assert measured == pytest.approx(stats.wasserstein_distance(NORMAL, other) / NORMAL.std(), rel=0.03, abs=0.01)


def test_the_effect_of_categories_is_the_share_of_rows_that_would_have_to_change() -> None:
    one, other = (counted(np.array(list(text), object)) for text in ("aaaabbbb", "aaaabbcc"))

    assert effect(one, other) == 0.25
    assert effect(one, counted(np.array([None], object))) is None


def test_what_was_constant_and_moves_has_moved_without_end() -> None:
    still = summary(np.full(5, 2.0))

    assert effect(still, summary(np.full(9, 2.0), still.edges)) == 0.0
    assert effect(still, summary(np.full(9, 2.5), still.edges)) == np.inf


def test_equal_rows_have_equal_hashes_and_others_have_not() -> None:
    columns = {
        "a": np.array([0.0, -0.0, np.nan, np.nan, 1.0], np.float32),
        "b": np.array(["x", "x", None, None, "x"], object),
    }

    found = row_hashes(columns)

    assert found[0] == found[1]
    assert found[2] == found[3]
    assert len(set(found.tolist())) == 3
    assert len(set(row_hashes({"a": columns["a"], "b": columns["a"]}).tolist())) == 3


@pytest.mark.parametrize(("different", "within"), [(1000, 0.0), (60_000, 0.06)], ids=["few exactly", "many about"])
def test_different_rows_are_counted_among_repeated_ones(different: int, within: float) -> None:
    found = Distinct()
    drawn = row_hashes({"a": np.arange(different)})

    for part in np.array_split(np.tile(drawn, 3), 7):
        found.add(part)

    # 1 / sqrt(4096) is 1.6 %, four of which are as good as never reached.
    assert found.estimate == pytest.approx(different, rel=within)
    assert found.duplicate_share == pytest.approx(2 / 3, abs=0.03)


def test_a_sample_is_the_same_whatever_pieces_rows_come_in() -> None:
    values = np.arange(30_000)
    strata = np.where(values % 1000 == 0, "rare", "common").astype(object)
    samples = []
    for cuts in ([], [10, 20_000], list(range(500, 30_000, 500))):
        one, other = RowSample(size=400, floor=25), RowSample(size=400, floor=25)
        for at, (first, end) in enumerate(zip([0, *cuts], [*cuts, 30_000], strict=True)):
            (one if at % 2 else other).add(first, {"v": values[first:end]}, strata[first:end])
        one.merge(other)
        samples.append(one.drawn())

    assert all(found.index.tolist() == samples[0].index.tolist() for found in samples)
    assert all(found.weights.tolist() == samples[0].weights.tolist() for found in samples)
    assert samples[0].is_uniform.sum() == 400
    assert (samples[0].columns["v"] % 1000 == 0).sum() >= 25


def test_the_weights_of_a_sample_add_up_to_the_rows() -> None:
    found = RowSample(size=500, floor=50)
    strata = np.array(["a"] * 20_000 + ["b"] * 200, object)

    found.add(0, {"v": np.arange(20_200)}, strata)
    drawn = found.drawn()

    # The weights are an unbiased estimate of the counts; these are of one seed, to within four standard errors.
    assert drawn.weights.sum() == pytest.approx(20_200, rel=0.15)
    assert drawn.weights[drawn.columns["v"] >= 20_000].sum() == pytest.approx(200, rel=0.5)


def test_a_sample_of_wide_rows_is_kept_below_its_bytes() -> None:
    found = RowSample(size=1000, floor=0, max_bytes=100_000)

    for start in range(0, 5000, 500):
        found.add(start, {"x": np.zeros((500, 100), np.float32)})

    assert found.drawn().columns["x"].nbytes <= 100_000


def test_sequences_of_many_lengths_are_left_out_of_a_sample() -> None:
    found = RowSample(size=5, floor=0)

    for length in (3, 4):
        found.add(length, {"tokens": np.zeros((1, length)), "n": np.array([length])})

    assert set(found.drawn().columns) == {"n"}


def test_priorities_are_uniform() -> None:
    drawn = priorities(0, 20_000) / 2.0**64

    assert stats.kstest(drawn, "uniform").pvalue > 0.001
