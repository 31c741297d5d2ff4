"""Outcomes are counted against the capture, written once, and lost neither by crashes nor by others who write."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlserve.errors import InvalidInput
from mlserve.rows.capture_file import files_of
from mlserve.rows.outcome_log import WHOLE, log_in
from mlserve.rows.outcomes import Outcomes
from mlserve.rows.reading import open_rows, open_table
from mlserve.traffic.compacting import compact
from mlserve.traffic.erasing import erase
from mlserve.traffic.known_requests import KNOWN, KnownRequests
from mlserve.traffic.outcomes import Counted, OutcomeWriter, forget
from mlserve.traffic.surveying import survey
from tests.traffic.making import EPOCH_S, SIGNATURE, captured, recorded, writer
from tests.traffic.outcome_making import entries, noon, recorder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The capture of ``fraud``: id-0, id-1 and id-2 of one row each, id-10 of three."""
    captured(tmp_path, recorded(), recorded((3,), start=10))
    return tmp_path / "fraud"


def record(folder: Path, *parts: Any, horizon_s: float | None = None) -> Counted:
    return recorder(folder).record(iter([entries(*part) for part in parts]), horizon_s=horizon_s)


def labels(folder: Path, *ids: str, rows: int = 1) -> list[Any]:
    found = Outcomes.open(folder).labels(ids, np.full(len(ids), rows))
    assert found is not None
    values: list[Any] = found.tolist()
    return values


def test_each_is_counted_for_what_became_of_it(folder: Path) -> None:
    first = record(folder, (["id-0", "id-1", "id-7"], [1, 0, 1]))
    again = record(folder, (["id-0", "id-1", "id-2", "id-7"], [1, 1, 0, 1]))

    assert first == Counted(outcomes=3, joined=2, unmatched=1)
    assert again == Counted(outcomes=4, joined=1, duplicate=1, corrected=1, unmatched=1)
    assert labels(folder, "id-0", "id-1", "id-2", "id-7") == [1, 1, 0, 1]


def test_the_same_again_writes_nothing(folder: Path) -> None:
    given = (["id-0", "id-1", "id-7"], [1, 0, 1])
    record(folder, given)
    size = log_in(folder).stat().st_size

    assert record(folder, given) == Counted(outcomes=3, duplicate=2, unmatched=1)
    assert log_in(folder).stat().st_size == size


def test_the_last_of_one_file_holds(folder: Path) -> None:
    counted = record(folder, (["id-0", "id-0", "id-0", "id-0"], [1, 1, 0, 1]))

    assert counted == Counted(outcomes=4, joined=1, duplicate=1, corrected=2)
    assert labels(folder, "id-0") == [1]


def test_one_label_for_several_rows_is_that_of_each_and_told(folder: Path) -> None:
    assert record(folder, (["id-10"], [1])).spread == 1
    assert labels(folder, "id-10", rows=3) == [1, 1, 1]
    assert record(folder, (["id-10", "id-10"], [0, 0], [1, 3])) == Counted(outcomes=2, joined=1, unmatched=1)
    assert labels(folder, "id-10", rows=3) == [1, 0, 1]


def test_what_became_known_after_the_horizon_is_late_and_kept(folder: Path) -> None:
    arrived = int((EPOCH_S + 10) * 1e9)
    times = [arrived + int(seconds * 1e9) for seconds in (59, 61)]

    counted = record(
        folder, (["id-0", "id-1", "id-2"], [1, 1, 1], None, [*times, np.iinfo(np.int64).min]), horizon_s=60
    )

    assert (counted.joined, counted.late) == (3, 1)
    assert labels(folder, "id-1") == [1]


def test_a_label_before_its_request_joins_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "fraud"
    assert record(folder, (["id-0"], [1])).unmatched == 1

    one = writer(tmp_path)
    one.write([recorded()])

    assert record(folder, (["id-0"], [1])).duplicate == 1
    assert labels(folder, "id-0") == [1]
    one.close()


def test_a_clock_that_was_set_back_undoes_no_correction(folder: Path) -> None:
    OutcomeWriter(folder, "fraud", lambda: 2 * noon()).record(iter([entries(["id-0"], [1])]))
    OutcomeWriter(folder, "fraud", noon).record(iter([entries(["id-0"], [0])]))

    assert labels(folder, "id-0") == [0]


def test_a_writer_that_stays_open_sees_what_others_wrote(folder: Path) -> None:
    one, other = recorder(folder), recorder(folder)
    one.record(iter([entries(["id-0"], [1])]))

    assert other.record(iter([entries(["id-0"], [1])])).duplicate == 1
    assert one.record(iter([entries(["id-0"], [0])])).corrected == 1
    assert other.record(iter([entries(["id-0"], [0])])).duplicate == 1


def test_those_who_write_at_the_same_time_lose_nothing_and_miscount_nothing(folder: Path) -> None:
    def work(number: int) -> list[Counted]:
        one = recorder(folder)
        return [one.record(iter([entries([f"{number}-{at}", "id-0", "id-1"], [at, 1, 0])])) for at in range(20)]

    with ThreadPoolExecutor(4) as pool:
        counted = [one for each in pool.map(work, range(4)) for one in each]

    assert sum(one.joined for one in counted) == 2
    assert sum(one.duplicate for one in counted) == 2 * 80 - 2
    assert labels(folder, *[f"{number}-{at}" for number in range(4) for at in range(20)]) == [*range(20)] * 4


_ENDLESS = """
import sys
from itertools import count
from pathlib import Path
from tests.traffic.outcome_making import entries, recorder
one = recorder(Path(sys.argv[1]))
for at in count():
    one.record(iter([entries([f"{at}-{n}" for n in range(50)], [at] * 50)]))
    print(at, flush=True)
"""


def test_kill_9_loses_nothing_that_was_answered(folder: Path) -> None:
    told = []
    with subprocess.Popen([sys.executable, "-c", _ENDLESS, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(20):
            told.append(int(process.stdout.readline()))
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout if line.endswith("\n")]

    assert labels(folder, *[f"{at}-{n}" for at in told for n in range(50)]) == [at for at in told for _ in range(50)]
    assert record(folder, (["id-0"], [1])).joined == 1


def test_a_log_cut_anywhere_reads_up_to_there_and_goes_on(folder: Path) -> None:
    sizes = []
    for at in range(3):
        record(folder, ([f"id-{at}"], [at]))
        sizes.append(log_in(folder).stat().st_size)
    whole = log_in(folder).read_bytes()

    for cut in range(0, len(whole), 29):
        log_in(folder).write_bytes(whole[:cut])
        kept = sum(size <= cut for size in sizes)
        expected = [at if at < kept else None for at in range(3)]
        if kept:
            assert labels(folder, "id-0", "id-1", "id-2") == expected
        assert record(folder, (["id-2"], [9])) == Counted(outcomes=1, joined=1)
        assert labels(folder, "id-0", "id-1", "id-2") == [*expected[:2], 9]


def test_behind_a_flipped_byte_nothing_is_thrown_away(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    record(folder, (["id-0"], [0]))
    at = log_in(folder).stat().st_size
    record(folder, (["id-1"], [1]))
    content = bytearray(log_in(folder).read_bytes())
    content[at + 40] ^= 1
    log_in(folder).write_bytes(content)

    record(folder, (["id-2"], [2]))

    assert labels(folder, "id-0", "id-1", "id-2") == [0, None, 2]
    (damaged,) = log_in(folder).parent.glob("damaged-*")
    assert damaged.read_bytes() == content[at:]
    assert "is damaged from byte" in caplog.text
    assert forget(folder, pa.array(["id-9"])) == 0
    assert damaged.exists()
    assert forget(folder, pa.array(["id-1"])) == 0
    assert not damaged.exists()


def test_a_disk_that_is_full_is_said_and_costs_nothing_that_was_there(folder: Path) -> None:
    record(folder, (["id-0"], [1]))
    code = f"""
import resource, signal
from pathlib import Path
from mlserve.errors import InvalidInput
from tests.traffic.outcome_making import entries, recorder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, 1 << 12))
try:
    recorder(Path({str(folder)!r})).record(iter([entries([f"x-{{n}}" for n in range(5000)], list(range(5000)))]))
except InvalidInput as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "file too large" in done.stdout
    assert labels(folder, "id-0", "x-1") == [1, None]
    assert record(folder, (["id-0"], [1])).duplicate == 1


def test_known_requests_are_found_in_every_kind_of_file(tmp_path: Path) -> None:
    folder = tmp_path / "fraud"
    captured(tmp_path, recorded())
    compact(tmp_path)
    captured(tmp_path, recorded((2,), start=10))
    one = writer(tmp_path, server="s2")
    one.write([recorded(start=20)])
    known = KnownRequests(folder)
    known.refresh()
    ids = pa.array(["id-0", "id-10", "id-20", "id-21", "id-30"])

    assert known.find(ids)[0].tolist() == [1, 2, 1, 1, 0]
    one.write([recorded(start=30)])
    known.refresh()
    assert known.find(ids)[0].tolist() == [1, 2, 1, 1, 1]
    assert known.find(ids)[1][0] == int((EPOCH_S + 10) * 1e9)
    one.close()
    known.refresh()
    assert known.find(ids)[0].tolist() == [1, 2, 1, 1, 1]
    assert sorted(path.name.split(".")[-1] for path in (folder / "outcomes" / KNOWN).iterdir()) == ["npy"] * 3


def test_a_file_in_the_capture_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "broken.parquet").write_bytes(b"nothing")

    with pytest.raises(InvalidInput, match=r"broken\.parquet' cannot be read"):
        record(folder, (["id-0"], [1]))


def test_what_was_found_in_a_file_is_kept_and_a_damaged_note_of_it_is_made_anew(folder: Path) -> None:
    ids = pa.array(["id-0"])
    for damage in (None, b"", b"\x93NUMPY nothing"):
        for note in (folder / "outcomes" / KNOWN).glob("*"):
            if damage is not None:
                note.write_bytes(damage)
        known = KnownRequests(folder)
        known.refresh()
        assert known.find(ids)[0].tolist() == [1]
    (path,) = files_of(folder)
    path.unlink()
    known.refresh()
    assert known.find(ids)[0].tolist() == [0]
    assert list((folder / "outcomes" / KNOWN).iterdir()) == []


def test_compacting_leaves_outcomes_whole(folder: Path) -> None:
    record(folder, (["id-0", "id-10"], [1, 0]))

    compact(folder.parent)

    assert labels(folder, "id-0", "id-10") == [1, 0]
    assert record(folder, (["id-0", "id-10"], [1, 0])).duplicate == 2


def test_erasing_a_unit_erases_its_outcomes(tmp_path: Path) -> None:
    captured(tmp_path, recorded(unit_keys=["theirs", "other", None]))
    folder = tmp_path / "fraud"
    record(folder, (["id-0", "id-1", "id-2"], [1, 0, 1]), (["id-0"], [5], [0]))

    done = erase(tmp_path, "theirs", by="ann", now=datetime(2026, 11, 28, tzinfo=UTC))

    assert (done.requests, done.outcomes) == (1, 2)
    assert labels(folder, "id-0", "id-1", "id-2") == [None, 0, 1]
    assert b"id-0" not in log_in(folder).read_bytes()
    assert json.loads((tmp_path / "erasures.jsonl").read_text())["outcomes"] == 2
    assert record(folder, (["id-1", "id-0"], [0, 1])) == Counted(outcomes=2, duplicate=1, unmatched=1)


def test_a_survey_counts_requests_with_an_outcome(folder: Path) -> None:
    assert survey(folder)[0].outcomes == 0

    record(folder, (["id-0", "id-7", "id-10"], [1, 1, 1], [WHOLE, WHOLE, 2]))

    assert survey(folder.parent)[0].outcomes == 2


def test_a_capture_that_is_asked_for_labels_has_the_rows_that_have_one(folder: Path) -> None:
    record(folder, (["id-1", "id-10", "id-10"], [1, 2, 3], [WHOLE, 0, 2]))

    assert "label" not in open_table(folder).columns
    rows = open_rows(folder, SIGNATURE, labelled=True)
    batch = rows.read()

    assert batch.roles["label"].tolist() == [1, 2, 3]
    assert batch.roles["label"].dtype == np.int64
    assert batch.roles["group"].tolist() == ["id-1", "id-10", "id-10"]
    assert batch.inputs["x"].tolist() == [[3, 4, 5], [10, 11, 12], [16, 17, 18]]
    assert rows.unlabelled_rows == 3
    assert open_rows(folder, SIGNATURE).read().roles["group"].tolist() == ["id-0", "id-1", "id-2", *["id-10"] * 3]


def test_what_a_shadow_was_asked_too_is_no_row_of_a_capture(tmp_path: Path) -> None:
    captured(tmp_path, recorded(), recorded(stage="shadow"))

    assert open_rows(tmp_path, SIGNATURE).read().roles["group"].tolist() == ["id-0", "id-1", "id-2"]


def test_the_digest_of_labelled_rows_is_of_the_outcomes_too(folder: Path) -> None:
    plain = open_rows(folder, SIGNATURE).digest
    record(folder, (["id-1"], [1]))
    one = open_rows(folder, SIGNATURE, labelled=True).digest
    record(folder, (["id-1"], [2]))

    assert open_rows(folder, SIGNATURE).digest == plain
    assert len({plain, one, open_rows(folder, SIGNATURE, labelled=True).digest}) == 3


def test_folder_and_files_are_for_their_owner_alone(folder: Path) -> None:
    record(folder, (["id-0"], [1]))

    for path in (folder / "outcomes").rglob("*"):
        assert os.stat(path).st_mode & 0o077 == 0


def test_text_for_numbers_writes_nothing(folder: Path) -> None:
    record(folder, (["id-0"], [1]))
    before = log_in(folder).read_bytes()

    with pytest.raises(InvalidInput, match="these are text"):
        record(folder, (["id-1"], ["spam"]))

    assert log_in(folder).read_bytes() == before
