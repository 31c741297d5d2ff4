"""Taking one unit out of a capture: from every kind of file, with nothing else lost, and a line that says so."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from mlserve.rows.capture_file import files_of
from mlserve.traffic.compacting import compact
from mlserve.traffic.erasing import AUDIT, Erased, erase
from mlserve.traffic.surveying import requests_of, survey
from tests.traffic.making import captured, recorded, writer

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def taken_out(folder: Path) -> Erased:
    return erase(folder, "theirs", by="ann", now=NOW)


def some(start: int) -> object:
    return recorded((1, 2, 1), start=start, unit_keys=["theirs", "other", None])


def test_theirs_are_gone_and_the_others_are_as_they_were(tmp_path: Path) -> None:
    captured(tmp_path, some(0))  # type: ignore[arg-type]
    compact(tmp_path)
    captured(tmp_path, some(10), recorded((1,), start=20))  # type: ignore[arg-type]
    others = [json.dumps(one) for one in requests_of(tmp_path) if one["unit_key_hash"] != "theirs"]

    done = taken_out(tmp_path)

    assert (done.requests, done.files, done.pending) == (2, 2, 0)
    assert [json.dumps(one) for one in requests_of(tmp_path)] == others
    assert all(b"id-10" not in path.read_bytes() for path in files_of(tmp_path))
    assert survey(tmp_path)[0].damaged_bytes == 0


def test_each_time_leaves_a_line(tmp_path: Path) -> None:
    captured(tmp_path, some(0))  # type: ignore[arg-type]

    taken_out(tmp_path)
    taken_out(tmp_path)

    lines = [json.loads(line) for line in (tmp_path / AUDIT).read_text().splitlines()]
    assert lines[0] == {
        "at": "2026-11-28T00:00:00Z", "by": "ann", "unit_key_hash": "theirs", "requests": 1, "files": 1, "pending": 0,
        "outcomes": 0,
    }  # fmt: skip
    assert lines[1]["requests"] == 0


def test_a_file_that_is_being_written_is_told_of_and_erased_later(tmp_path: Path) -> None:
    one = writer(tmp_path)
    one.write([some(0)])  # type: ignore[list-item]

    assert taken_out(tmp_path).pending == 1
    one.close()
    assert taken_out(tmp_path).requests == 1
    assert [found["request_id"] for found in requests_of(tmp_path)] == ["id-1", "id-2"]
