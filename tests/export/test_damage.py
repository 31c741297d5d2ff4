"""Files that are empty, cut short, something else or made to harm: one sentence for each suffix, and what to do."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import joblib
import keras
import lightgbm
import numpy as np
import pytest
import skops.io
import torch
import xgboost
from safetensors.torch import save_file
from sklearn.linear_model import LinearRegression

from mlserve.errors import InvalidInput, Unsupported
from tests import models
from tests.export.exports import run_export

TABLE, TARGET = np.random.default_rng(0).normal(size=(40, 4)), np.arange(40)


def program(path: Path) -> None:
    torch.export.save(torch.export.export(torch.nn.Linear(4, 3), (torch.randn(2, 4),)), path)


WHOLE: dict[str, Callable[[Path], object]] = {
    ".onnx": lambda path: models.saved(models.classifier(), path),
    ".pt2": program,
    ".pt": lambda path: torch.save(torch.nn.Linear(4, 3).state_dict(), path),
    ".safetensors": lambda path: save_file(torch.nn.Linear(4, 3).state_dict(), path),
    ".ubj": lambda path: xgboost.train({}, xgboost.DMatrix(TABLE, TARGET), 3).save_model(path),
    ".lgb": lambda path: lightgbm.train({"verbose": -1}, lightgbm.Dataset(TABLE, TARGET), 3).save_model(path),
    ".skops": lambda path: skops.io.dump(LinearRegression().fit(TABLE, TARGET), path),
    ".joblib": lambda path: joblib.dump(LinearRegression().fit(TABLE, TARGET), path),
    ".pkl": lambda path: joblib.dump(LinearRegression().fit(TABLE, TARGET), path),
    ".keras": lambda path: keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)]).save(path),
}


@pytest.mark.parametrize("cut", [b"end of trees", b"end of parameters"])
def test_a_lightgbm_file_without_its_ends_is_not_taken_for_a_smaller_model(cut: bytes) -> None:
    WHOLE[".lgb"](Path("whole.lgb"))
    held = Path("whole.lgb").read_bytes()
    Path("cut.lgb").write_bytes(held[: held.index(cut)])

    with pytest.raises(InvalidInput, match="it is cut short"):
        run_export("cut.lgb")


def content(suffix: str, damage: str) -> bytes:
    match damage:
        case "empty":
            return b""
        case "garbage":
            return b"garbage " * 20
        case "start of a zip":
            return b"PK\x03\x04" + bytes(60)
        case "start of a pickle":
            return b"\x80\x04\x95\x10" + bytes(7) + b"}"
    whole = Path(f"whole{suffix}")
    WHOLE[suffix](whole)
    return whole.read_bytes()[: whole.stat().st_size // 2]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("damage", ["empty", "garbage", "start of a zip", "start of a pickle", "half"])
@pytest.mark.parametrize("suffix", list(WHOLE))
def test_a_damaged_file_is_told_by_name_with_what_to_do(
    suffix: str, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = Path(f"broken{suffix}")
    path.write_bytes(content(suffix, damage))
    capfd.readouterr()

    with pytest.raises(InvalidInput) as caught:
        run_export(path, allow_pickle=True)

    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert not Path("out.onnx").exists()
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("suffix", [*WHOLE, ""])
def test_a_folder_is_told_to_be_one(suffix: str) -> None:
    Path(f"broken{suffix}").mkdir()

    with pytest.raises(Unsupported, match="is a folder"):
        run_export(f"broken{suffix}", allow_pickle=True)


@pytest.mark.parametrize("suffix", [".keras", ".skops", ".pt2", ".pt"])
def test_a_zip_bomb_is_not_unpacked(suffix: str) -> None:
    path = Path(f"bomb{suffix}")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("config.json", "w") as member:
        for _ in range(300):
            member.write(bytes(1 << 20))

    with pytest.raises(InvalidInput, match=r"unpacks 'config\.json' from \d+ to 314572800 bytes"):
        run_export(path, allow_pickle=True)
