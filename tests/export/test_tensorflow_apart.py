"""TensorFlow in an environment of its own: it wants another h5py than the tests' environment has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "build" / "tests" / "tensorflow"
PACKAGES = ["tensorflow-cpu==2.21.0", "tf2onnx==1.17.0", "joblib", "pytest", "pytest-timeout", "hypothesis"]


def environment() -> Path:
    """The Python of an environment with TensorFlow, made once for this checkout."""
    python = PLACE / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(PLACE)], check=True)
    constraints = PLACE / "constraints.txt"
    pinned = (ROOT / "constraints.txt").read_text().splitlines(keepends=True)
    constraints.write_text("".join(line for line in pinned if not line.startswith("h5py")))
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--constraint", str(constraints), "--editable", str(ROOT), *PACKAGES], check=True)
    return python


@pytest.mark.timeout(1800)
def test_saved_models_are_exported_where_tensorflow_is_installed(in_full: bool) -> None:
    if not in_full:
        pytest.skip("make test-all makes an environment with TensorFlow, 1.8 GB")
    words = ["-m", "pytest", "-q", "-W", "default", "-p", "no:cacheprovider", "tests/export/test_tensorflow.py"]
    backend = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}

    done = subprocess.run(
        [str(environment()), *words], cwd=ROOT, env=os.environ | backend, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"\d+ passed", done.stdout)
    assert "skipped" not in done.stdout.splitlines()[-1]
