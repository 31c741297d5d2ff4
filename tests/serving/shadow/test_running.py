"""A version in shadow runs what production was asked, and says why where it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlserve.runtime.model import load_model
from mlserve.serving.shadow.running import ShadowModel
from tests import models
from tests.serving.shadow.test_comparing import mirrored


def test_a_version_without_production_s_outputs_says_which_those_are(tmp_path: Path) -> None:
    model = load_model(models.saved(models.classifier(), tmp_path / "m.onnx"))
    one = mirrored([1, 2])
    one.outputs = {"score": np.zeros((3, 1), np.float32), "class": np.zeros(3, np.int64)}

    (first, second) = ShadowModel(model, is_batchable=True).run(one)

    assert first.outputs is second.outputs is None
    assert first.error == "it gives none of what production answered: 'score', 'class'"
    assert (first.status, first.mirrored.requests) == (400, 1)
