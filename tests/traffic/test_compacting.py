"""Segments become Parquet: nothing is lost or doubled, whenever it is cut short."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from mlserve.rows.capture_file import JOURNAL, files_of
from mlserve.traffic import compacting
from mlserve.traffic.compacting import compact
from mlserve.traffic.surveying import requests_of, survey
from tests.traffic.making import captured, recorded, writer

HOUR_S = 3600.0


def ids(path: Path) -> list[str]:
    return sorted(one["request_id"] for one in requests_of(path))


def two_hours(folder: Path) -> Path:
    return captured(folder, recorded((1, 2), start=0), recorded((1,), start=10, at_s=HOUR_S), recorded(start=20))


def test_nothing_changes_but_the_files(tmp_path: Path) -> None:
    two_hours(tmp_path)
    before = sorted(json.dumps(one) for one in requests_of(tmp_path))

    done = compact(tmp_path)

    assert sorted(json.dumps(one) for one in requests_of(tmp_path)) == before
    assert (done.segments, done.files, done.requests) == (1, 2, 6)
    found = {str(path.parent.relative_to(tmp_path)) for path in files_of(tmp_path)}
    assert found == {"fraud/hour=2026-11-27T05", "fraud/hour=2026-11-27T06"}
    assert survey(tmp_path)[0].open == 0


def test_any_reader_of_parquet_reads_it_by_hour(tmp_path: Path) -> None:
    two_hours(tmp_path)
    compact(tmp_path)

    table = ds.dataset(tmp_path / "fraud", partitioning="hive", format="parquet").to_table()

    assert table.num_rows == 6
    assert sorted(set(table.column("hour").to_pylist())) == ["2026-11-27T05", "2026-11-27T06"]
    assert table.column("input.x").to_pylist()[0] == [0.0, 1.0, 2.0]


def test_a_second_time_there_is_nothing_to_do(tmp_path: Path) -> None:
    two_hours(tmp_path)
    compact(tmp_path)
    before = ids(tmp_path)

    assert compact(tmp_path).segments == 0
    assert ids(tmp_path) == before


def test_what_is_being_written_is_left_alone(tmp_path: Path) -> None:
    one = writer(tmp_path)
    one.write([recorded()])

    assert compact(tmp_path).growing == 1

    one.write([recorded(start=10)])
    one.close()
    assert len(ids(tmp_path)) == 6


def test_what_a_killed_server_left_open_is_compacted_too(tmp_path: Path) -> None:
    captured(tmp_path)
    (path,) = files_of(tmp_path)
    left = path.with_name(f"{path.name}.open")
    left.write_bytes(path.read_bytes()[:-30])  # not sealed, and cut within the end
    path.unlink()

    assert compact(tmp_path).segments == 1
    assert ids(tmp_path) == ["id-0", "id-1", "id-2"]
    assert not left.exists()


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_cut_short_after_the_journal_it_is_read_once_and_finished_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    two_hours(tmp_path)
    before = ids(tmp_path)

    def cut_short(parent: Path, journal: compacting.Journal) -> None:
        for hidden, final in journal.made[:renames]:
            (parent / hidden).rename(parent / final)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compacting, "_finish", cut_short)
        with pytest.raises(KeyboardInterrupt):
            compact(tmp_path)

    assert ids(tmp_path) == before
    assert len(list(tmp_path.rglob(JOURNAL))) == 1
    compact(tmp_path)
    assert ids(tmp_path) == before
    assert not list(tmp_path.rglob(JOURNAL))
    assert not list(tmp_path.rglob("*.mlcap"))


def test_cut_short_before_the_journal_the_segments_are_all_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_hours(tmp_path)
    before = ids(tmp_path)

    def cut_short(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compacting, "write_journal", cut_short)
        with pytest.raises(KeyboardInterrupt):
            compact(tmp_path)

    assert ids(tmp_path) == before
    compact(tmp_path)
    assert ids(tmp_path) == before
