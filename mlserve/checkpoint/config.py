"""What ``config.json`` says of a checkpoint, as far as it decides what can be done with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlserve.errors import InvalidInput, NotFound, Unsupported

CONFIG_FILE = "config.json"
CAUSAL_ENDINGS = ("ForCausalLM", "LMHeadModel")
"""How transformers calls classes that continue a text."""

_MAX_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """``architecture`` is the class's name; ``quantization`` the method that it was quantized with, None for none."""

    architecture: str
    model_type: str
    quantization: str | None


def read_config(folder: Path) -> CheckpointConfig:
    """The description of the checkpoint in ``folder``.

    Raises NotFound without ``config.json``, InvalidInput where that is damaged, Unsupported for a model that does not
    continue texts.
    """
    document = read_json(folder / CONFIG_FILE, _MAX_BYTES)
    names = document.get("architectures")
    if not isinstance(names, list) or not names or not isinstance(names[0], str):
        raise InvalidInput(f"'{folder / CONFIG_FILE}' names no architecture")
    if not names[0].endswith(CAUSAL_ENDINGS):
        raise Unsupported(
            f"'{folder}' is a {names[0]}, and only causal language models are taken as folders",
            hint="mlserve export makes ONNX of other models",
        )
    quantization = document.get("quantization_config")
    method = quantization.get("quant_method", "unknown") if isinstance(quantization, dict) else None
    return CheckpointConfig(names[0], str(document.get("model_type", "")), None if method is None else str(method))


def read_json(path: Path, max_bytes: int) -> dict[str, Any]:
    """The object in a JSON file. Raises NotFound, InvalidInput."""
    try:
        if path.stat().st_size > max_bytes:
            raise InvalidInput(f"'{path}' is larger than {max_bytes} bytes, which no such file is")
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFound(f"no file '{path}'") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(f"'{path}' is no JSON") from error
    if not isinstance(document, dict):
        raise InvalidInput(f"'{path}' is no JSON object")
    return document
