"""A quantized checkpoint written to a folder: nothing is run between reading and writing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlserve.checkpoint.config import CONFIG_FILE
from mlserve.checkpoint.packaging import Package
from mlserve.checkpoint.weights import INDEX_FILE
from mlserve.errors import InvalidInput, Unsupported
from mlserve.quantize.checkpoints.methods import CheckpointMethod
from mlserve.runtime.generation.opening import open_checkpoint, quiet

PROVENANCE_FILE = "mlserve.json"
GENERATION_FILE = "generation_config.json"


def make(source: Path, package: Package, method: CheckpointMethod, target: Path, provenance: Mapping[str, Any]) -> None:
    """Write the checkpoint of ``package`` to the new folder ``target``, quantized by ``method``.

    What is no weight is copied as it is; ``provenance`` goes into ``mlserve.json``. Raises as ``open_checkpoint``, and
    Unsupported for a model that the tools cannot quantize.
    """
    with quiet():
        import torch
        from transformers import BitsAndBytesConfig

        options = BitsAndBytesConfig(**method.options)
        try:
            opened = open_checkpoint(source, quantization=options, dtype=getattr(torch, method.dtype))
            # Never after a run: see the package's first lines.
            opened.model.save_pretrained(target, safe_serialization=True)
        except InvalidInput as error:
            raise Unsupported(f"the method does not suit this model: {error.message}") from error
    # What transformers writes of habits is what opening put there.
    (target / GENERATION_FILE).unlink(missing_ok=True)
    for name, path in package.files:
        if name not in (CONFIG_FILE, INDEX_FILE, PROVENANCE_FILE) and path.suffix != ".safetensors":
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target / name)
    for path in target.glob("*.safetensors"):
        path.chmod((target / CONFIG_FILE).stat().st_mode)  # they are made for one user's eyes only
    text = json.dumps(dict(provenance), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (target / PROVENANCE_FILE).write_text(text, encoding="utf-8")
