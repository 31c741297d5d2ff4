"""What a version in shadow answered is paired with production's answer to the same request, and is no traffic."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from mlserve.compare.pairs import Pairs
from mlserve.rows.capture_table import CaptureTable
from mlserve.rows.outcomes import Outcomes
from mlserve.traffic.compacting import compact
from mlserve.traffic.recorded import Recorded
from mlserve.traffic.shadowed import Answered, shadowed_pairs
from tests.traffic.making import SOURCE, recorded, writer
from tests.traffic.outcome_making import entries, recorder

SHADOW = msgspec.structs.replace(SOURCE, version=3, digest="sha256:3")
OTHER = msgspec.structs.replace(SOURCE, version=4, digest="sha256:4")
FIRST = {"id-0": 0, "id-2": 6, "id-4": 6, "id-10": 10}
"""The first value of what each request asked."""


def beside(one: Recorded) -> Recorded:
    """What the shadow answered where production answered ``one``: scores that are 1 more, in the reverse order."""
    outputs = {name: array + np.array(1, array.dtype) for name, array in (one.outputs or {}).items()}
    return msgspec.structs.replace(one, source=SHADOW, stage="shadow", inputs=None, outputs=outputs)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Requests id-0 to id-5 of one row and id-10 of three, which a shadow had too but for id-5; id-20 has no label."""
    production, shadow = writer(tmp_path, server="p"), writer(tmp_path, server="s")
    runs = [recorded((1, 1, 1)), recorded((1, 1), start=3), recorded((3,), start=10), recorded((1,), start=20)]
    for run in runs:
        production.write([run])
        shadow.write([beside(run)])
    production.write([recorded((1,), start=5)])
    production.write([msgspec.structs.replace(recorded((1,), start=0), source=OTHER)])
    production.close()
    shadow.close()
    names = ["id-0", "id-2", "id-4", "id-5"]
    recorder(tmp_path / "fraud").record(iter([entries(names, [1, 0, 1, 1]), entries(["id-10"], [0], [1])]))
    return tmp_path / "fraud"


def pairs_in(folder: Path, chunk: int = 100) -> list[Pairs]:
    outcomes = Outcomes.open(folder)
    return list(shadowed_pairs(folder, Answered(3), Answered(2, SOURCE.digest), outcomes, chunk=chunk))


@pytest.mark.parametrize("chunk", [1, 100])
@pytest.mark.parametrize("is_compacted", [False, True], ids=["segments", "parquet"])
def test_labelled_requests_that_both_answered_are_paired(folder: Path, chunk: int, *, is_compacted: bool) -> None:
    if is_compacted:
        compact(folder.parent)

    found = pairs_in(folder, chunk)

    seen = {}
    for pairs in found:
        ends = np.cumsum(pairs.rows_each)
        for name, end, count in zip(pairs.request_ids, ends, pairs.rows_each, strict=True):
            rows = slice(int(end - count), int(end))
            expected, actual = pairs.expected["p"][rows], pairs.actual["p"][rows]
            assert (actual == expected + 1).all()
            assert pairs.labels is not None
            seen[name] = np.ma.filled(pairs.labels[rows], -1).tolist()  # type: ignore[no-untyped-call]
            assert expected[0, 0] == np.float32(FIRST[name]) / np.float32(7)
    assert seen == {"id-0": [1], "id-2": [0], "id-4": [1], "id-10": [-1, 0, -1]}


def test_a_shadows_rows_are_no_traffic(folder: Path) -> None:
    found = np.concatenate([batch["x"][:, 0] for batch in CaptureTable(folder).batches(100)])

    assert sorted(found.tolist()) == [0, 0, 3, 3, 5, 6, 6, 10, 13, 16, 20]


def test_a_shadow_that_was_asked_to_give_inputs_is_no_traffic_either(tmp_path: Path) -> None:
    one = writer(tmp_path)
    one.write([recorded((1, 1)), msgspec.structs.replace(recorded((1, 1)), stage="shadow")])
    one.close()

    assert sum(len(batch["x"]) for batch in CaptureTable(tmp_path / "fraud").batches(100)) == 2
