"""Captures are made while loading or not at all; a size that is refused keeps nobody from being served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlserve.errors import Unavailable
from mlserve.runtime.model import OnnxModel, load_model
from mlserve.runtime.providers import CPU
from mlserve.serving.sizing import Sized, run_every_size, run_lattice
from tests import models

SAMPLES = {"x": np.ones((8, 4), np.float32)}


def captured(tmp_path: Path) -> OnnxModel:
    """A session of the CPU that believes that it captures."""
    model = load_model(models.saved(models.classifier(), tmp_path / "model.onnx"), device="cpu")
    model.captures_graphs = True
    return model


def on_lattice(model: OnnxModel, samples: dict[str, Any] = SAMPLES, budget_s: float = 10.0) -> Sized:
    return run_lattice(model, (1, 2, 4, 8), samples, provider=CPU, graphs="captured", budget_s=budget_s, label="m:1")


def test_each_size_has_graphs_of_its_own_whatever_the_time(tmp_path: Path) -> None:
    sized = on_lattice(captured(tmp_path), budget_s=0.0)

    assert sized.fixed is not None
    assert sorted(sized.warmed) == [1, 2, 4, 8]
    graphs = [slot.graph for slot in sized.fixed.slots]
    assert None not in graphs
    assert len(set(graphs)) == len(graphs)
    assert sized.graphs == "captured"
    sized.fixed.close()


def test_where_a_capture_goes_wrong_runs_have_no_graphs_and_the_reason_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(OnnxModel):
        """Its first buffers cannot be bound, as on a device without memory for a capture."""

        is_first = True

        @property
        def session(self) -> Any:
            if self.is_first:
                self.is_first = False
                raise Unavailable("out of memory: capture")
            return super().session

    model = captured(tmp_path)
    model.__class__ = Failing

    sized = on_lattice(model)

    assert sized.fixed is not None
    assert {slot.graph for slot in sized.fixed.slots} == {None}
    assert sized.graphs == "refused: a capture went wrong: out of memory: capture"
    assert sorted(sized.warmed) == [1, 2, 4, 8]
    assert "m:1 runs without CUDA graphs: out of memory: capture" in caplog.text


def test_a_size_that_is_refused_is_a_note_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = load_model(models.classifier().SerializeToString(), device="cpu")

    assert run_every_size(model, {"x": np.ones((8, 5))}, 8, budget_s=1.0, label="m:1") == Sized()
    assert "m:1 refused a size of its warm-up" in caplog.text
