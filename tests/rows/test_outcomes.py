"""Labels are joined to the rows of requests as pandas would join them, whatever came twice, late, or in which order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlserve.errors import InvalidInput, Unsupported
from mlserve.rows import outcomes as module
from mlserve.rows.frames import append_frame
from mlserve.rows.outcome_log import HEADER, WHOLE, logs_of
from mlserve.rows.outcomes import Outcomes
from tests.traffic.outcome_making import entries, recorder

IDS = st.sampled_from([f"id-{number}" for number in range(6)])
GIVEN = st.tuples(IDS, st.sampled_from([WHOLE, WHOLE, 0, 1, 2]), st.integers(-3, 3))
ASKED = st.tuples(IDS, st.integers(0, 4), st.integers(0, 2))


def joined_by_pandas(given_: list[tuple[str, int, int]], asked: list[tuple[str, int, int]]) -> list[int | None]:
    """Left join of each row with the last label of its own, else with the last of its request."""
    labels = pd.DataFrame(given_, columns=["id", "row", "label"]).drop_duplicates(["id", "row"], keep="last")
    rows = pd.DataFrame(
        [(name, first + at) for name, count, first in asked for at in range(count)], columns=["id", "row"]
    ).astype({"row": "int64"})
    own = rows.merge(labels, how="left", on=["id", "row"])["label"]
    whole = rows.merge(labels[labels["row"] == WHOLE].drop(columns="row"), how="left", on="id")["label"]
    found = own.fillna(whole)
    return [None if np.isnan(value) else int(value) for value in found.astype(float)]


def read(outcomes: Outcomes, asked: list[tuple[str, int, int]]) -> list[Any]:
    ids, counts, firsts = ([one[part] for one in asked] for part in range(3))
    found = outcomes.labels(ids, np.array(counts, np.int64), np.array(firsts, np.int64))
    assert found is not None
    values: list[Any] = found.tolist()
    return values


@given(st.lists(st.lists(GIVEN, min_size=1, max_size=12), min_size=1, max_size=6), st.lists(ASKED, max_size=12))
def test_the_join_is_that_of_pandas(parts: list[list[tuple[str, int, int]]], asked: list[tuple[str, int, int]]) -> None:
    outcomes = Outcomes([])
    for moment, part in enumerate(parts):
        ids, rows, labels = ([one[at] for one in part] for at in range(3))
        outcomes.add(entries(ids, labels, rows, received=[moment] * len(part)))

    assert read(outcomes, asked) == joined_by_pandas([one for part in parts for one in part], asked)


def test_many_are_joined_as_pandas_would() -> None:
    rng = np.random.default_rng(0)
    ids = [f"{number:x}" for number in rng.integers(0, 30_000, 50_000)]
    labels = rng.integers(0, 100, 50_000)
    outcomes = Outcomes([])
    for first in range(0, 50_000, 7_000):
        part = slice(first, first + 7_000)
        outcomes.add(entries(ids[part], labels[part].tolist(), received=[first] * len(ids[part])))

    asked = [(f"{number:x}", 1, 0) for number in range(40_000)]
    expected = joined_by_pandas([(name, WHOLE, int(label)) for name, label in zip(ids, labels, strict=True)], asked)
    assert read(outcomes, asked) == expected


@given(st.lists(GIVEN, min_size=1, max_size=12), st.lists(ASKED, max_size=12))
def test_ids_with_equal_keys_are_told_apart(
    given_: list[tuple[str, int, int]], asked: list[tuple[str, int, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # No two texts are known whose hashes are equal, so here all are.
        patch.setattr(module, "hashes_of", lambda ids, seed: np.zeros(len(ids), np.uint64))
        patch.setattr(module, "mixed", lambda rows: np.zeros(len(rows), np.uint64))
        outcomes = Outcomes([])
        for one in given_:
            outcomes.add(entries([one[0]], [one[2]], [one[1]]))
        assert read(outcomes, asked) == joined_by_pandas(given_, asked)


@pytest.mark.parametrize(
    ("labels", "kind"),
    [([True, False], "b"), ([1, 2], "i"), ([0.5, 1.0], "f"), (["spam", "ham"], "O")],
    ids=["truth values", "integers", "floats", "text"],
)
def test_labels_keep_their_type(tmp_path: Path, labels: list[Any], kind: str) -> None:
    recorder(tmp_path).record(iter([entries(["a", "b"], labels)]))

    found = Outcomes.open(tmp_path).labels(["a", "x", "b"], np.ones(3, np.int64))

    assert found is not None
    assert found.dtype.kind == kind
    assert found.tolist() == [labels[0], None, labels[1]]


def test_integers_then_fractions_are_fractions_and_text_is_refused(tmp_path: Path) -> None:
    recorder(tmp_path).record(iter([entries(["a"], [1])]))
    recorder(tmp_path).record(iter([entries(["b"], [0.5])]))

    assert Outcomes.open(tmp_path).dtype == np.float64
    with pytest.raises(InvalidInput, match="'fraud' have been numbers so far, and these are text"):
        recorder(tmp_path).record(iter([entries(["c"], ["spam"])]))


def test_where_nothing_is_known_there_are_no_labels(tmp_path: Path) -> None:
    assert Outcomes.open(tmp_path).labels(["a"], np.ones(1, np.int64)) is None
    assert Outcomes.open(tmp_path).dtype is None


def test_a_label_that_came_since_is_there_after_a_refresh(tmp_path: Path) -> None:
    recorder(tmp_path).record(iter([entries(["a"], [1])]))
    outcomes = Outcomes.open(tmp_path)
    recorder(tmp_path).record(iter([entries(["a", "b"], [2, 3])]))

    assert read(outcomes, [("a", 1, 0)]) == [1]
    outcomes.refresh()
    assert read(outcomes, [("a", 1, 0), ("b", 1, 0)]) == [2, 3]


def test_the_log_is_found_from_the_folder_the_model_and_a_file(tmp_path: Path) -> None:
    recorder(tmp_path / "fraud").record(iter([entries(["a"], [1])]))
    recorder(tmp_path / "churn", "churn").record(iter([entries(["a"], [2])]))
    hour = tmp_path / "fraud" / "hour=2026-11-27T05"
    hour.mkdir()
    log = tmp_path / "fraud" / "outcomes" / "outcomes.mlout"

    assert len(logs_of(tmp_path)) == 2
    for capture in (tmp_path / "fraud", tmp_path / "fraud" / "x.mlcap", hour, hour / "x.parquet"):
        assert logs_of(capture) == [log]
    assert read(Outcomes.open(tmp_path, "churn"), [("a", 1, 0)]) == [2]


def test_a_log_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "outcomes" / "outcomes.mlout"
    log.parent.mkdir()
    with log.open("wb") as file:
        append_frame(file.fileno(), 0, HEADER, 0, b'{"schema": "mlserve.outcomes/2", "model": "fraud"}')

    with pytest.raises(Unsupported, match="a newer mlserve"):
        Outcomes.open(tmp_path)
    with pytest.raises(Unsupported):
        recorder(tmp_path).record(iter([entries(["a"], [1])]))


def test_ids_that_are_an_arrow_array_are_taken_as_they_are() -> None:
    outcomes = Outcomes([])
    outcomes.add(entries(["a"], [1]))

    found = outcomes.labels(pa.array(["b", "a"]), np.array([1, 2]))

    assert found is not None
    assert found.tolist() == [None, 1, 1]
