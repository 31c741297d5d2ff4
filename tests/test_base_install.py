"""What needs no extra works without any: the tests' environment has them all, so here they cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models import labelled_classifier, saved

EXTRAS = (
    *("torch", "transformers", "optimum", "accelerate", "bitsandbytes", "tokenizers", "safetensors", "keras"),
    *("sklearn", "skl2onnx", "onnxmltools", "skops", "joblib", "pandas", "scipy", "xgboost", "lightgbm"),
    *("onnxruntime_extensions", "jinja2", "matplotlib", "opentelemetry", "psycopg", "s3fs", "alibi_detect", "ray"),
    *("onnxscript", "tritonclient", "fastapi", "pytest", "hypothesis"),
)

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {extras}:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)

sys.meta_path.insert(0, Missing())
import importlib.util
found = importlib.util.find_spec
def find_spec(name, package=None):
    return None if name.partition(".")[0] in {extras} else found(name, package)
importlib.util.find_spec = find_spec
sys.argv = ["mlserve", *sys.argv[1:]]
from mlserve.__main__ import main
sys.exit(main())
"""


def run(*words: str | Path, code: int = 0) -> Any:
    """The answer of a call that ends with ``code``, or its error."""
    command = [sys.executable, "-c", WITHOUT.format(extras=set(EXTRAS)), *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, (words, done.stderr)
    return json.loads(done.stdout if code in (0, 7) else done.stderr)


@pytest.fixture
def model(clean_environment: Path) -> Path:
    rows = np.random.default_rng(0).normal(size=(400, 32)).astype(np.float32)
    np.savez("rows.npz", x=rows[:200])
    np.savez("seen.npz", x=rows[200:])
    return saved(labelled_classifier(features=32, classes=64), Path("m.onnx"))


def test_a_model_is_exported_quantized_registered_promoted_tuned_and_asked_for(model: Path) -> None:
    run("init")
    run("doctor")
    run("export", model, "-o", "same.onnx", "--sample", "rows.npz")
    for method, more in (("int8-dynamic", ()), ("int8", ("--calibrate", "seen.npz")), ("fp16", ()), ("auto", ())):
        run("quantize", model, "-o", f"{method}.onnx", "--to", method, "--evaluate", "rows.npz", "--force", *more)
    assert run("register", "m", model)["ref"] == "m:1"
    assert run("register", "m", "int8-dynamic.onnx", "--parent", "m:1")["ref"] == "m:2"
    run("promote", "m:2", "--to", "production")
    run("show", "m")
    run("lineage", "m:2")
    run("history", "m")
    run("drift", "fit", "m", "--reference", "rows.npz")
    run("tune", "m", "--budget", "1s")
    assert len(run("predict", "m", "rows.npz")["label"]) == 200
    run("bench", "m", "--duration", "0.2", "--repeats", "2", "--concurrency", "1")


def test_what_an_extra_brings_is_asked_for_by_name(clean_environment: Path) -> None:
    folder = Path("llama")
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    Path("held_out.txt").write_text("some text")
    (clean_environment / "m.skops").write_bytes(b"PK")

    language = run("quantize", "llama", "-o", "small", "--to", "bnb-nf4", "--evaluate", "held_out.txt", code=6)
    table = run("export", "m.skops", "-o", "m.onnx", code=6)

    assert "mlserve[llm]" in language["error"]["hint"]
    assert "mlserve[sklearn]" in table["error"]["hint"]
