"""What goes on in a user's process stays there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import models


def test_running_a_model_leaves_no_telemetry_behind(tmp_path: Path) -> None:
    file = models.saved(models.scalar(), tmp_path / "scalar.onnx")
    home = tmp_path / "home"
    home.mkdir()
    code = f"""
from pathlib import Path
import numpy as np
from mlserve.runtime.model import load_model
load_model(Path({str(file)!r}), device="cpu").run({{"x": np.array(1, np.float32)}})
"""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}

    subprocess.run([sys.executable, "-c", code], env=env | {"HOME": str(home)}, check=True, timeout=60)

    assert not list(home.rglob("*onnxruntime*"))


def test_looking_at_what_is_installed_turns_telemetry_off_first() -> None:
    seen = "os.environ['ORT_DISABLE_TELEMETRY'], 'onnxruntime' in sys.modules"
    code = f"import os, sys, mlserve.wiring.checking; print({seen})"
    env = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}

    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.split() == ["1", "False"]
