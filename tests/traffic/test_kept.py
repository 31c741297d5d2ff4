"""Captures that releases wrote read as they did then; see ``keeping``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mlserve.rows.capture_table import CaptureTable
from mlserve.rows.outcomes import Outcomes
from mlserve.traffic.surveying import requests_of
from tests.traffic.keeping import KEPT, LABELS, keep

RELEASES = sorted(path.name for path in KEPT.iterdir())


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("part", ["sealed", "cut", "compacted"])
def test_a_capture_of_a_release_reads_as_it_did(release: str, part: str) -> None:
    expected = [json.loads(line) for line in (KEPT / release / f"{part}.jsonl").read_text().splitlines()]

    found = [json.loads(json.dumps(one)) for one in requests_of(KEPT / release / part)]

    assert len(found) >= 2
    for one, wanted in zip(found, expected, strict=True):
        assert {name: one[name] for name in wanted} == wanted


@pytest.mark.parametrize("release", RELEASES)
def test_its_rows_are_data_for_every_command(release: str) -> None:
    table = CaptureTable(KEPT / release / "sealed" / "fraud")

    rows = np.concatenate([batch["x"] for batch in table.batches(1024)])

    assert rows[:6].tolist() == np.arange(18, dtype=np.float32).reshape(6, 3).tolist()


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("model", LABELS)
def test_outcomes_of_a_release_read_as_they_did(release: str, model: str) -> None:
    found = Outcomes.open(KEPT / release / "labelled", model).labels(["a", "b", "c"], np.array([1, 2, 1]))

    assert found is not None
    assert found.tolist() == LABELS[model]


def test_this_release_reads_what_it_would_keep(tmp_path: Path) -> None:
    keep(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} >= {"sealed", "cut", "compacted", "sealed.jsonl"}
    assert [one["status"] for one in requests_of(tmp_path / "sealed" / "fraud")] == [200, 200, 200, 500]
