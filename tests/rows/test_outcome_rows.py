"""Files of outcomes are read the same in every form, and refused with the line that is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlserve.errors import InvalidInput, NotFound
from mlserve.rows.outcome_log import NO_TIME, WHOLE
from mlserve.rows.outcome_rows import BATCH_ROWS, Columns, from_objects, read_outcomes

FORMS = ("csv", "parquet", "jsonl", "json")
AT = "2026-11-27T12:00:00Z"
AT_NS = int(datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp()) * 10**9


def saved(folder: Path, form: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    path = folder / f"labels.{form}"
    match form:
        case "csv":
            pd.DataFrame(rows).to_csv(path, index=False)
        case "parquet":
            pd.DataFrame(rows).to_parquet(path, index=False)
        case "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        case _:
            path.write_text(json.dumps(list(rows)))
    return path


def found(path: Path, **columns: Any) -> list[tuple[Any, ...]]:
    return [
        (name, int(row), label, int(time))
        for part in read_outcomes(path, Columns(**columns))
        for name, row, label, time in zip(
            part.ids.to_pylist(), part.rows, part.labels.tolist(), part.times, strict=True
        )
    ]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same(tmp_path: Path, form: str) -> None:
    rows = [{"request_id": "007", "label": 1, "row": 0, "time": AT}, {"request_id": "b", "label": 0, "row": 2}]

    assert found(saved(tmp_path, form, rows)) == [("007", 0, 1, AT_NS), ("b", 2, 0, NO_TIME)]


@pytest.mark.parametrize("form", FORMS)
def test_a_request_is_named_by_its_own_id_or_by_the_one_in_the_reply(tmp_path: Path, form: str) -> None:
    rows = [{"request_id": name, "label": 1} for name in ("order 7", "order%207", "é", "a{b}")]

    assert [name for name, *_ in found(saved(tmp_path, form, rows))] == ["order%207", "order%207", "%C3%A9", "a{b}"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "labels", [["spam", "ham"], [0.25, 3.0], [True, False]], ids=["text", "floats", "truth values"]
)
def test_labels_are_what_they_are(tmp_path: Path, form: str, labels: list[Any]) -> None:
    rows = [{"who": name, "truth": label, "more": 7} for name, label in zip("ab", labels, strict=True)]

    read = found(saved(tmp_path, form, rows), id="who", label="truth")

    assert read == [("a", WHOLE, labels[0], NO_TIME), ("b", WHOLE, labels[1], NO_TIME)]
    assert all(type(one[2]) is type(labels[0]) for one in read)


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_list_is_a_label_for_each_row(tmp_path: Path, form: str) -> None:
    rows = [{"id": "a", "label": [1, 0]}, {"id": "b", "label": [2, 3, 4]}, {"id": "c", "label": [5]}]

    assert [one[:3] for one in found(saved(tmp_path, form, rows))] == [
        ("a", 0, 1), ("a", 1, 0), ("b", 0, 2), ("b", 1, 3), ("b", 2, 4), ("c", 0, 5),
    ]  # fmt: skip


def test_null_in_a_list_is_not_known(tmp_path: Path) -> None:
    assert [one[:3] for one in found(saved(tmp_path, "jsonl", [{"id": "a", "label": [None, 1]}]))] == [("a", 1, 1)]


def test_whole_numbers_are_ids_too(tmp_path: Path) -> None:
    for form in FORMS:
        assert found(saved(tmp_path, form, [{"request_id": 17, "label": 1}]))[0][0] == "17"


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize(
    ("bad", "fact"),
    [
        pytest.param({"request_id": None, "label": 1}, "no (request id|'request_id')", id="no id"),
        pytest.param({"request_id": "c", "label": None}, "no (label|'label')", id="no label"),
        pytest.param({"request_id": "c", "label": 1, "row": -2}, "row", id="a negative row"),
        pytest.param({"request_id": "c", "label": 1, "row": 0.5}, "row", id="half a row"),
        pytest.param({"request_id": "c", "label": 1, "time": "noon"}, "time is 'noon'", id="no time"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, form: str, bad: Mapping[str, Any], fact: str) -> None:
    good = {"request_id": "a", "label": 1, "row": 0, "time": AT}

    with pytest.raises(InvalidInput, match=rf"(row|line) 3\b.*{fact}"):
        found(saved(tmp_path, form, [good, good, bad]))


def test_no_number_is_no_label(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    for text in ("NaN", "Infinity", "[[1]]", '{"a": 1}', str(2**63)):
        path.write_text(f'{{"id": "a", "label": 1}}\n{{"id": "b", "label": {text}}}\n')
        with pytest.raises(InvalidInput, match=r"line 2.*label"):
            found(path)
    pd.DataFrame({"id": ["a", "b"], "label": [1.0, np.inf]}).to_parquet(tmp_path / "inf.parquet")
    with pytest.raises(InvalidInput, match="row 2"):
        found(tmp_path / "inf.parquet")


def test_text_among_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"line 2: the label is text"):
        found(saved(tmp_path, "jsonl", [{"id": "a", "label": 1}, {"id": "b", "label": "spam"}]))
    lines = "".join(f"id-{number:0120},{number}\n" for number in range(40_000))
    (tmp_path / "late.csv").write_text(f"id,label\n{lines}x,spam\n")
    with pytest.raises(InvalidInput, match=r"row 40001.*'spam' is not a number"):
        found(tmp_path / "late.csv")


def test_text_among_numbers_is_refused_beyond_a_batch() -> None:
    objects = [{"id": f"{number}", "label": number} for number in range(BATCH_ROWS)]

    with pytest.raises(InvalidInput, match="some labels are text"):
        list(from_objects(("", one) for one in [*objects, {"id": "x", "label": "spam"}]))


def test_a_list_and_a_row_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="labels of all rows and a row"):
        found(saved(tmp_path, "jsonl", [{"id": "a", "label": [1], "row": 0}]))


def test_what_is_no_file_of_outcomes_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        found(tmp_path / "nothing.csv")
    with pytest.raises(InvalidInput, match="no column 'request_id'"):
        found(saved(tmp_path, "csv", [{"label": 1, "a": 2}]))
    with pytest.raises(InvalidInput, match="no column 'label'") as refused:
        found(saved(tmp_path, "csv", [{"id": 1, "a": 2}]))
    assert refused.value.hint == "--label NAME says which one it is"
    with pytest.raises(InvalidInput, match="not a file of outcomes"):
        found(tmp_path / "labels.npz")
    (tmp_path / "list.jsonl").write_text("[1]\n")
    with pytest.raises(InvalidInput, match="line 1 is not an object"):
        found(tmp_path / "list.jsonl")
