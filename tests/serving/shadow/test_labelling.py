"""When outcomes come, a shadow's quality is told beside production's, from the pairs in the capture."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from mlserve.compare.ladder.comparison import ComparisonPlan
from mlserve.serving.shadow.labelling import Labelling
from mlserve.serving.shadow.messages import Opening
from tests.serving.shadow.test_comparing import opening
from tests.traffic.making import SOURCE, recorded, writer
from tests.traffic.outcome_making import entries, recorder

ROWS = 40
IDS = [f"id-{number}" for number in range(ROWS)]
TRUTH = np.arange(ROWS) % 2


def capture(folder: Path) -> Opening:
    """Production that is right of every second request, and a shadow that is right of all."""
    shown = opening(folder, champion_digest=SOURCE.digest)
    right = TRUTH.astype(np.int64)
    wrong = np.where(np.arange(ROWS) % 4 < 2, right, 1 - right)
    one = recorded([1] * ROWS, outputs={"label": wrong, "p": np.zeros((ROWS, 2), np.float32)})
    source = msgspec.structs.replace(SOURCE, version=3, digest="sha256:3")
    outputs = {"label": right, "p": np.zeros((ROWS, 2), np.float32)}
    beside = msgspec.structs.replace(one, source=source, stage="shadow", inputs=None, outputs=outputs)
    for server, part in (("p", one), ("s", beside)):
        made = writer(folder, server=server)
        made.write([part])
        made.close()
    return shown


def test_quality_is_told_of_both_once_there_are_labels(tmp_path: Path) -> None:
    shown = capture(tmp_path)
    labelling = Labelling(tmp_path, shown, ComparisonPlan())
    labelling.look()
    assert labelling.figures() == {}

    recorder(tmp_path / "fraud").record(iter([entries(IDS[:30], TRUTH[:30].tolist())]))
    labelling.look()
    found = labelling.figures()

    assert found["labelled_rows"] == 30
    (accuracy,) = [one for one in found["quality"] if one["metric"] == "accuracy"]
    assert (accuracy["before"], accuracy["after"]) == (16 / 30, 1.0)
    assert found["metrics"]["accuracy"] == 1.0
    assert found["metrics"]["accuracy_before"] == 16 / 30
    assert "ks" not in found["metrics"]  # of which all mirrored rows tell, labelled or not


def test_a_correction_is_looked_at_anew(tmp_path: Path) -> None:
    shown = capture(tmp_path)
    labelling = Labelling(tmp_path, shown, ComparisonPlan())
    writer_of = recorder(tmp_path / "fraud")
    writer_of.record(iter([entries(IDS, TRUTH.tolist())]))
    labelling.look()
    before = labelling.figures()["metrics"]["accuracy"]

    writer_of.record(iter([entries(IDS[:20], (1 - TRUTH[:20]).tolist())]))
    labelling.look()

    assert (before, labelling.figures()["metrics"]["accuracy"]) == (1.0, 0.5)


def test_a_capture_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    labelling = Labelling(tmp_path / "none", opening(tmp_path), ComparisonPlan())

    labelling.look()

    assert labelling.figures() == {}
