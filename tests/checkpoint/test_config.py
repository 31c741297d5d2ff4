"""What a checkpoint says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlserve.checkpoint.config import CheckpointConfig, read_config
from mlserve.errors import InvalidInput, MlserveError, NotFound, Unsupported


def written(folder: Path, document: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(document))
    return folder


def test_a_causal_model_is_told_by_its_architecture(tmp_path: Path) -> None:
    folder = written(tmp_path, {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"})

    assert read_config(folder) == CheckpointConfig("GPT2LMHeadModel", "gpt2", None)


def test_how_it_was_quantized_is_told(tmp_path: Path) -> None:
    quantized = {"architectures": ["LlamaForCausalLM"], "quantization_config": {"quant_method": "bitsandbytes"}}

    assert read_config(written(tmp_path, quantized)).quantization == "bitsandbytes"


@pytest.mark.parametrize(
    ("document", "error"),
    [
        pytest.param({"architectures": ["BertForSequenceClassification"]}, Unsupported, id="a classifier"),
        pytest.param({"model_type": "llama"}, InvalidInput, id="no architecture"),
        pytest.param([], InvalidInput, id="no object"),
    ],
)
def test_others_are_refused(tmp_path: Path, document: Any, error: type[MlserveError]) -> None:
    with pytest.raises(error):
        read_config(written(tmp_path, document))


def test_a_folder_without_one_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_config(tmp_path)
