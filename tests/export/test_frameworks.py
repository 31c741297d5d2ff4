"""Which exporter a source belongs to."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections import UserDict
from pathlib import Path

import pytest
import torch
from sklearn.linear_model import LinearRegression

from mlserve.errors import MissingExtra, NotFound, Unsupported
from mlserve.export.frameworks import EXPORTERS, framework_of_file, framework_of_object, reads_itself

HERE = [name for name in EXPORTERS if name != "tensorflow" or importlib.util.find_spec(name)]


@pytest.mark.parametrize("name", HERE)
def test_every_exporter_loads_and_says_what_it_is_for(name: str) -> None:
    exporter = EXPORTERS[name]

    assert exporter.suffixes or exporter.packages or reads_itself(name, "a folder")
    assert callable(exporter().convert)


@pytest.mark.skipif("tensorflow" in HERE, reason="TensorFlow is installed")
def test_a_framework_that_is_not_installed_is_told_with_its_extra(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"x")

    with pytest.raises(MissingExtra) as caught:
        EXPORTERS[framework_of_file(str(tmp_path)) or ""]

    assert caught.value.hint == "pip install 'mlserve[tensorflow]'"


def test_an_unknown_exporter_is_not_found_with_the_nearest() -> None:
    with pytest.raises(NotFound) as caught:
        EXPORTERS["sklaern"]

    assert caught.value.hint == "did you mean 'sklearn'?"


@pytest.mark.parametrize(
    ("source", "framework"),
    [("a/m.onnx", "onnx"), ("m.ONNX", "onnx"), ("m.pt2", "torch"), ("m.joblib", None), ("module:attr", None)],
)
def test_a_file_is_known_by_its_suffix(source: str, framework: str | None) -> None:
    assert framework_of_file(source) == framework


def test_a_folder_is_known_by_what_lies_in_it(clean_environment: Path) -> None:
    for folder, mark in (("plain", "config.json"), ("sentences", "modules.json"), ("other", "notes.txt")):
        Path(folder).mkdir()
        Path(folder, mark).write_text("{}")

    assert [framework_of_file(name) for name in ("plain", "sentences", "other")] == ["transformers"] * 2 + [None]


class Own(LinearRegression):  # type: ignore[misc]
    """Derived from a framework's class in the user's own package."""


@pytest.mark.parametrize(
    ("loaded", "framework"),
    [
        pytest.param(LinearRegression(), "sklearn", id="sklearn"),
        pytest.param(Own(), "sklearn", id="derived"),
        pytest.param(torch.nn.Identity(), "torch", id="torch"),
        pytest.param((torch.nn.Identity(), [torch.zeros(1)]), "torch", id="with example"),
    ],
)
def test_an_object_is_known_by_its_class(loaded: object, framework: str) -> None:
    assert framework_of_object(loaded, "m") == framework


@pytest.mark.parametrize("loaded", [UserDict(), 3, ()])
def test_an_object_of_no_framework_is_unsupported_by_name(loaded: object) -> None:
    with pytest.raises(Unsupported, match=type(loaded).__qualname__):
        framework_of_object(loaded, "m.joblib")


def test_exporting_a_scikit_learn_file_does_not_import_torch() -> None:
    code = (
        "import sys, joblib; from pathlib import Path; from datetime import datetime, UTC\n"
        "from sklearn.linear_model import LinearRegression\n"
        "joblib.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), 'm.joblib')\n"
        "from mlserve.export.exporting import export\n"
        "export('m.joblib', Path('o.onnx'), allow_pickle=True, by='x', now=datetime.now(UTC))\n"
        "assert 'torch' not in sys.modules"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
