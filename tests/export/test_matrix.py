"""Every framework's models by the real ``export``: all of them in ``make test-all``, a third in ``make test``."""

from __future__ import annotations

import os
import warnings

import pytest

from tests.conftest import KEPT
from tests.export.exports import run_export
from tests.export.matrix_nets import KERAS, ONNX, TORCH
from tests.export.matrix_tables import BOOSTED, SKLEARN, Case

CASES: dict[str, Case] = SKLEARN | BOOSTED | TORCH | KERAS | ONNX
CHOSEN = list(CASES) if os.environ.get(KEPT) == "1" else list(CASES)[::3]


def test_there_are_sixty_models_and_a_third_of_them_is_tried_each_time() -> None:
    assert len(CASES) >= 60
    assert len(CHOSEN) >= len(CASES) // 3


@pytest.mark.parametrize("name", CHOSEN)
def test_the_graph_answers_as_the_model_does(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what frameworks say while they fit is not under test
        arguments = CASES[name]()

    report = run_export(**arguments)

    assert (report.reasons, report.parity.rows_over) == ((), 0)
    assert report.parity.rows > 0
    assert {"batch of 1", "batch of 3"} <= {check.name for check in report.parity.checks}
