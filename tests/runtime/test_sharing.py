"""Sessions that share their weights answer as one that does not, and leave nothing behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from mlserve.errors import InvalidInput
from mlserve.runtime.model import load_model
from mlserve.runtime.samples import synthetic_inputs
from mlserve.runtime.sharing import open_sharing
from mlserve.runtime.threads import ThreadPlan
from tests import models

PLANS = (ThreadPlan(2, 1), ThreadPlan(1, 2))


def mapped_weights() -> list[str]:
    """The mappings of weight files that this process has, by address; each ends with the file's name."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return [line for line in maps if "mlserve-" in line and "weights.bin" in line]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="mappings are read from Linux's /proc")
def test_sessions_share_one_file_of_weights_that_is_gone_when_they_are_open(tmp_path: Path) -> None:
    path = models.saved(models.slow(width=512, layers=2), tmp_path / "model.onnx")
    before = set(Path(tempfile.gettempdir()).glob("mlserve-*"))

    opened = open_sharing(path, PLANS)

    mapped = mapped_weights()
    assert mapped, "the weights are mapped, not held by each session"
    assert len({line.split()[4] for line in mapped}) == 1, "all from one file"
    assert all("(deleted)" in line for line in mapped)
    assert set(Path(tempfile.gettempdir()).glob("mlserve-*")) <= before
    assert [one.threads for one in opened] == [1, 2]
    for one in opened:
        one.close()


@pytest.mark.parametrize(
    "proto",
    [
        models.classifier(hidden=512),
        models.slow(width=64, layers=4),
        models.mixed_columns(),
        models.with_control_flow(),
    ],
    ids=["classifier", "matmuls", "columns", "control flow"],
)
def test_they_answer_bit_for_bit_as_a_session_of_the_file(proto: onnx.ModelProto, tmp_path: Path) -> None:
    path = models.saved(proto, tmp_path / "model.onnx")
    plain = load_model(path, device="cpu", threads=PLANS[0])

    for one in open_sharing(path, PLANS):
        assert one.signature == plain.signature
        assert one.operators == plain.operators
        for rows in (1, 5):
            inputs = synthetic_inputs(plain.signature, rows, rows)
            for name, array in plain.run(inputs).items():
                np.testing.assert_array_equal(one.run(inputs)[name], array)


def test_weights_in_files_beside_the_model_are_shared_too(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(models.slow(width=64, layers=2), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    inputs = {"x": np.ones((3, 64), np.float32)}

    for one in open_sharing(path, PLANS):
        np.testing.assert_array_equal(one.run(inputs)["y"], load_model(path, device="cpu").run(inputs)["y"])


def test_what_cannot_be_loaded_is_raised(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")

    with pytest.raises(InvalidInput):
        open_sharing(tmp_path / "bad.onnx", PLANS)
