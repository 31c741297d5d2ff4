"""Which rows a check is of: by time, by number, since the last, or a file; and whether there are enough."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec
from mlserve.drift.captured_source import CaptureSource, arrivals, as_moment, as_ns, narrowed
from mlserve.drift.file_window import FileWindow
from mlserve.drift.schema import derive_schema
from mlserve.drift.sources import Faults, as_times
from mlserve.drift.windows import (
    CATCH_UP,
    SETTLED,
    Bounds,
    DataAt,
    LastRows,
    LastSpan,
    SinceLast,
    bounds_of,
    compared,
    judge_supply,
    parse_against,
    parse_window,
)
from mlserve.errors import InvalidInput, NotFound, UsageError
from tests.drift.making import rows_of
from tests.traffic.making import EPOCH_S, captured, recorded
from tests.traffic.outcome_making import entries, recorder

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
END = NOW - SETTLED
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("24h", LastSpan(24 * HOUR)),
        ("7d", LastSpan(timedelta(days=7))),
        ("n=5000", LastRows(5000)),
        ("since-last", SinceLast()),
        ("january.parquet", DataAt(Path("january.parquet"))),
        ("capture/fraud", DataAt(Path("capture/fraud"))),
    ],
)
def test_a_window_is_a_time_a_number_or_a_file(text: str, words: object) -> None:
    assert parse_window(text) == words


@pytest.mark.parametrize("text", ["n=0", " ", "0h"])
def test_no_window_at_all_is_misuse(text: str) -> None:
    with pytest.raises(UsageError, match="--window"):
        parse_window(text)


def test_a_time_ends_before_what_may_still_be_under_way() -> None:
    assert bounds_of(LastSpan(HOUR), now=NOW) == Bounds(END - HOUR, END)
    assert bounds_of(LastRows(7), now=NOW) == Bounds(None, END, 7)


@pytest.mark.parametrize(
    ("watermark", "learned_until", "expected"),
    [
        pytest.param(END - HOUR, None, Bounds(END - HOUR, END), id="since the last check"),
        pytest.param(None, END - 2 * HOUR, Bounds(END - 2 * HOUR, END), id="since the reference"),
        pytest.param(None, None, Bounds(END - CATCH_UP, END), id="the first check of all"),
        pytest.param(
            END - timedelta(days=30),
            None,
            Bounds(END - CATCH_UP, END, skipped_from=END - timedelta(days=30)),
            id="after a long silence",
        ),
        pytest.param(NOW + HOUR, None, Bounds(END, END), id="the clock was set back"),
    ],
)
def test_since_last_begins_where_the_last_check_ended(
    watermark: datetime | None, learned_until: datetime | None, expected: Bounds
) -> None:
    assert bounds_of(SinceLast(), now=NOW, watermark=watermark, learned_until=learned_until) == expected


def test_a_window_is_held_against_the_time_before_or_a_week_before() -> None:
    window = Bounds(END - HOUR, END)

    assert compared(window, "training") is None
    assert compared(window, "previous") == Bounds(END - 2 * HOUR, END - HOUR)
    assert compared(window, "same-hour-last-week") == Bounds(END - 169 * HOUR, END - 168 * HOUR)
    with pytest.raises(UsageError, match="needs a window in time"):
        compared(Bounds(None, None), "previous")


def test_against_what_is_one_of_three() -> None:
    assert parse_against("previous") == "previous"
    with pytest.raises(UsageError, match="--ref 'last'"):
        parse_against("last")


@pytest.mark.parametrize(
    ("rows", "silent", "supply"),
    [
        pytest.param(500, timedelta(0), "enough", id="enough"),
        pytest.param(99, timedelta(0), "insufficient", id="too few"),
        pytest.param(0, HOUR, "insufficient", id="none lately"),
        pytest.param(0, timedelta(days=2), "stale", id="none for days"),
        pytest.param(500, timedelta(days=2), "stale", id="many, and then none for days"),
    ],
)
def test_too_few_rows_and_a_silent_source_are_told_apart(rows: int, silent: timedelta, supply: str) -> None:
    found, why = judge_supply(rows, newest=NOW - silent, now=NOW)

    assert found == supply
    assert bool(why) == (supply != "enough")


def test_a_source_without_times_is_never_stale() -> None:
    assert judge_supply(500, newest=None, now=NOW) == ("enough", "")


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(EPOCH_S + seconds, UTC)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Requests of 2, 1 and 3 rows at 10, 10.001 and 10.002 s; of 1 row at 20 s; one that failed at 30 s."""
    parts = (recorded([2, 1, 3]), recorded([1], start=50, at_s=20.0), recorded([4], start=90, at_s=30.0, status=400))
    return captured(tmp_path / "capture", *parts)


def test_captured_rows_come_with_answers_and_times(capture: Path) -> None:
    source = CaptureSource(capture)

    (block,) = source.blocks()

    assert (block.start, block.rows) == (0, 7)
    assert block.inputs["x"].shape == (7, 3)
    assert block.outputs["p"].shape == (7, 2)
    assert block.times is not None
    assert block.times.astype("datetime64[s]").astype(int).tolist() == [int(EPOCH_S) + 10] * 6 + [int(EPOCH_S) + 20]
    assert block.labels is None
    assert source.left_out == {"status 400": 1}


def test_captured_rows_are_cut_between_requests(capture: Path) -> None:
    assert [block.rows for block in CaptureSource(capture).blocks(3)] == [3, 3, 1]
    assert [block.rows for block in CaptureSource(capture).blocks(1)] == [2, 1, 3, 1]


def test_only_what_came_within_the_bounds_is_read(capture: Path) -> None:
    within = Bounds(moment(10.0005), moment(20.0))

    assert [block.rows for block in CaptureSource(capture, bounds=within).blocks()] == [4]
    assert arrivals(capture, bounds=within).rows == 4
    assert arrivals(capture, bounds=Bounds(moment(40), None)).last is None
    assert arrivals(capture, version=9).rows == 0


def test_the_first_and_last_arrival_are_known(capture: Path) -> None:
    found = arrivals(capture)

    assert (found.rows, found.first, found.last) == (7, moment(10.0), moment(20.0))


@pytest.mark.parametrize(("rows", "got"), [(1, 1), (2, 4), (4, 4), (5, 5), (100, 7)])
def test_the_last_rows_are_whole_requests(capture: Path, rows: int, got: int) -> None:
    bounds = narrowed(capture, Bounds(None, moment(60), rows))

    assert bounds.rows is None
    assert sum(block.rows for block in CaptureSource(capture, bounds=bounds).blocks()) == got


def test_of_nothing_the_last_rows_are_none(capture: Path) -> None:
    bounds = narrowed(capture, Bounds(None, moment(0), 5))

    assert list(CaptureSource(capture, bounds=bounds).blocks()) == []


def test_moments_and_nanoseconds_are_one() -> None:
    assert as_moment(as_ns(moment(12.345678))) == moment(12.345678)
    assert as_ns(None) is as_moment(None) is None


def test_a_missing_capture_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        CaptureSource(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="no captured requests"):
        CaptureSource(tmp_path / "empty")


def test_answers_of_another_version_are_no_answers(capture: Path) -> None:
    (same,) = CaptureSource(capture, answers_of=2).blocks()
    (other,) = CaptureSource(capture, answers_of=3).blocks()

    assert set(same.outputs) == {"label", "p"}
    assert other.outputs == {}


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        pytest.param(TensorSpec("x", DType.FLOAT32, ("batch", 4)), "takes \\[4\\]", id="other shape"),
        pytest.param(TensorSpec("y", DType.FLOAT32, ("batch", 3)), "no input 'y'", id="other name"),
        pytest.param(TensorSpec("x", DType.INT64, ("batch", 3)), "float32, and the model takes int64", id="other type"),
    ],
)
def test_a_capture_that_does_not_fit_the_model_is_refused(capture: Path, spec: TensorSpec, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        list(CaptureSource(capture, signature=Signature((spec,), ())).blocks())


TABLE = Signature((TensorSpec("x", DType.FLOAT32, ("batch", 3)), TensorSpec("plan", DType.STRING, ("batch",))), ())
TABLE_ONLY = Signature(TABLE.inputs[:1], ())
NAMES = {"x": ("amount", "age", "visits")}


def written(path: Path, **changes: object) -> Path:
    rows = rows_of(200, seed=3)
    columns = {name: rows["x"][:, at] for at, name in enumerate(NAMES["x"])} | {"plan": rows["plan"].tolist()}
    columns |= changes
    pq.write_table(pa.table({name: values for name, values in columns.items() if values is not None}), path)
    return path


def window(path: Path, signature: Signature = TABLE) -> FileWindow:
    return FileWindow(path, derive_schema(signature, rows_of(), names=NAMES))


def test_a_file_with_all_columns_makes_the_models_inputs(tmp_path: Path) -> None:
    found = window(written(tmp_path / "w.parquet"))

    (block,) = found.blocks()

    assert found.faults == Faults()
    np.testing.assert_array_equal(block.inputs["x"], rows_of(200, seed=3)["x"])
    assert block.columns == {}


def test_a_column_that_is_missing_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    found = window(written(tmp_path / "w.parquet", age=None, new=[1] * 200))

    (block,) = found.blocks()

    assert (found.faults.missing, found.faults.extra) == (("age",), ("new",))
    assert set(block.inputs) == {"plan"}
    assert set(block.columns) == {"amount", "visits"}


def test_text_where_numbers_are_usual_is_told(tmp_path: Path) -> None:
    found = window(written(tmp_path / "w.parquet", age=["many"] * 200, plan=list(range(200))))

    list(found.blocks())

    assert dict(found.faults.retyped) == {"age": "text", "plan": "numbers"}


def test_nulls_are_read_as_what_they_are(tmp_path: Path) -> None:
    table = {"age": pa.nulls(200), "visits": pa.array([None, 3] * 100), "plan": pa.nulls(200, pa.string())}
    found = window(written(tmp_path / "w.parquet", **table))

    (block,) = found.blocks()

    assert found.faults.retyped == ()
    assert np.isnan(block.inputs["x"][:, 1]).all()
    assert np.isnan(block.inputs["x"][:, 2]).sum() == 100
    assert block.inputs["plan"].tolist() == [None] * 200


def test_a_file_with_nothing_of_the_model_has_rows_and_no_columns(tmp_path: Path) -> None:
    pq.write_table(pa.table({"shoe": [44] * 20, "hat": [58] * 20}), tmp_path / "w.parquet")

    found = window(tmp_path / "w.parquet")
    (block,) = found.blocks()

    assert found.faults.missing == ("amount", "age", "visits", "plan")
    assert (block.rows, block.inputs, block.columns, block.can_run) == (20, {}, {}, False)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(np.array(["2026-01-02T03:04:05", None], object), id="without a zone"),
        pytest.param(np.array(["2026-01-02T03:04:05Z", None], object), id="in UTC"),
        pytest.param(np.array(["2026-01-02T05:04:05+02:00", None], object), id="two hours ahead"),
        pytest.param(np.array(["2026-01-02T03:04:05", "NaT"], "datetime64[ns]"), id="as times"),
        pytest.param(np.array([1767323045.0, np.nan]), id="seconds since 1970"),
    ],
)
def test_times_are_read_however_they_are_written(values: np.ndarray) -> None:
    assert as_times(values, "here").astype(str).tolist() == ["2026-01-02T03:04:05.000000", "NaT"]


def test_what_is_no_time_is_told() -> None:
    with pytest.raises(InvalidInput, match="here: the column of times holds what is no time"):
        as_times(np.array(["yesterday"], object), "here")


def test_columns_of_other_names_are_taken_in_order(tmp_path: Path) -> None:
    path = tmp_path / "w.csv"
    rows = rows_of(50, seed=3)["x"]
    np.savetxt(path, rows, delimiter=",", header="a,b,c", comments="")

    found = window(path, TABLE_ONLY)
    (block,) = found.blocks()

    assert found.faults == Faults()
    np.testing.assert_allclose(block.inputs["x"], rows, rtol=1e-6)


def test_a_whole_input_may_be_one_column(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    rows = rows_of(50, seed=3)
    np.savez(path, x=rows["x"], plan=rows["plan"].astype(str), label=np.ones(50))

    found = window(path)
    (block,) = found.blocks()

    assert found.faults == Faults()
    assert block.labels is not None
    assert block.inputs["x"].shape == (50, 3)


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        window(tmp_path / "none.parquet")


def test_outcomes_that_came_later_are_the_labels(capture: Path) -> None:
    recorder(capture / "fraud").record(iter([entries(["id-0", "id-50"], [1, 0])]))

    (block,) = CaptureSource(capture).blocks()

    assert isinstance(block.labels, np.ma.MaskedArray)
    assert block.labels.tolist() == [1, 1, None, None, None, None, 0]
