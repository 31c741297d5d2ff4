"""A folder as ``save_pretrained`` writes it, as a live model: nothing fetched, none of its code run, no pickles.

config.json ─► task ─► weights (safetensors) ─► torch module in float32
modules.json, 1_Pooling/config.json of sentence-transformers ─► pooling
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

# Read by huggingface_hub when it is imported: a folder is all there is, and nobody is asked for more.
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from safetensors import SafetensorError

from mlserve.errors import InvalidInput, MlserveError, NotFound, Unsupported, UsageError
from mlserve.export.quieting import converter_output
from mlserve.export.transformers_pooling import Pooling, read_pooling
from mlserve.export.transformers_tasks import Task, chosen_task

T = TypeVar("T")

LOGGERS = ("transformers", "optimum", "huggingface_hub", "torch", "torch.onnx")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model in evaluation mode for ``task``. ``pooling`` is None where every token has an answer of its own."""

    folder: Path
    task: Task
    model: Any
    pooling: Pooling | None

    @property
    def config(self) -> Any:
        return self.model.config


def load_checkpoint(source: str, *, task: str | None, allow_pickle: bool) -> Checkpoint:
    """The checkpoint in the folder ``source``, for the task called ``task`` or else the one that its config names.

    Raises NotFound for no such folder, UsageError for weights in a pickle without ``allow_pickle``, InvalidInput for
    what is cut short or incomplete, Unsupported for what needs code of its own, or weights of another kind.
    """
    folder = _folder(source)
    pooling = read_pooling(folder)
    if pooling is not None and pooling.folder:
        folder = folder / pooling.folder
    config = _read(folder, lambda: transformers.AutoConfig.from_pretrained(folder, **_OFFLINE))
    if getattr(config, "quantization_config", None) is not None:
        raise Unsupported(
            f"'{source}' is quantized already, and such weights do not go into ONNX",
            hint="export the checkpoint that it was made of, then mlserve quantize",
        )
    chosen = chosen_task(task, config.architectures or (), pools=pooling is not None)
    if getattr(config, "is_encoder_decoder", False):
        raise Unsupported(f"'{source}' is an encoder with a decoder, which would be several graphs")
    model = _load_model(folder, config, chosen, allow_pickle=allow_pickle)
    return Checkpoint(folder, chosen, model, pooling if chosen.name == "feature-extraction" else None)


def load_tokenizer(folder: Path) -> Any:
    """The folder's tokenizer, a fast one. Raises NotFound without one, Unsupported for one written in Python."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt")):
        raise NotFound(f"'{folder}' holds no tokenizer", hint="save it there with tokenizer.save_pretrained(DIR)")
    load: Any = transformers.AutoTokenizer.from_pretrained
    tokenizer = _read(folder, lambda: load(folder, use_fast=True, **_OFFLINE))
    if not tokenizer.is_fast:
        raise Unsupported(f"the tokenizer {type(tokenizer).__name__} has no tokenizer.json to read its rules from")
    return tokenizer


_OFFLINE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def _folder(source: str) -> Path:
    folder = Path(source)
    if not folder.is_dir():
        raise NotFound(
            f"no folder '{source}'",
            hint="nothing is fetched from a hub: give a folder with config.json, weights and tokenizer",
        )
    if not (folder / "config.json").is_file() and not (folder / "modules.json").is_file():
        raise NotFound(f"'{source}' has no config.json", hint="save the model there with model.save_pretrained(DIR)")
    return folder


def _load_model(folder: Path, config: Any, task: Task, *, allow_pickle: bool) -> Any:
    if not any(folder.glob("*.safetensors")):
        _check_pickles(folder, allow_pickle=allow_pickle)
    loader = getattr(transformers, task.loader)
    safe = {} if allow_pickle else {"use_safetensors": True}
    model, found = _read(
        folder,
        lambda: loader.from_pretrained(
            folder, config=config, dtype=torch.float32, output_loading_info=True, **safe, **_OFFLINE
        ),
    )
    # The pooler of BERT's kind follows the answer that is exported, and many checkpoints leave it out.
    missing = sorted(key for key in found["missing_keys"] if "pooler." not in key or task.name != "feature-extraction")
    if missing or found["mismatched_keys"]:
        names = missing or [str(key[0]) for key in found["mismatched_keys"]]
        raise InvalidInput(
            f"'{folder}' lacks weights for {task.name}: {', '.join(names[:3])}",
            hint="--task with what it was trained for",
        )
    return model.eval()


def _check_pickles(folder: Path, *, allow_pickle: bool) -> None:
    pickles = sorted(path.name for path in folder.glob("*.bin"))
    if not pickles:
        raise NotFound(f"'{folder}' holds no weights (*.safetensors)")
    if not allow_pickle:
        raise UsageError(
            f"'{folder}' has its weights in pickles ({pickles[0]}), which can run any code when they are read",
            hint="--allow-pickle if you trust where they come from, or save them as safetensors",
        )


def _read(folder: Path, load: Callable[[], T]) -> T:
    try:
        with converter_output(*LOGGERS):
            return load()
    except MlserveError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, SafetensorError) as error:
        fact = str(error).strip().split("\n")[0][:300]
        if "trust_remote_code" in str(error) or "does not recognize this architecture" in str(error):
            raise Unsupported(
                f"'{folder}' needs code that is not part of transformers {transformers.__version__}, and is never run"
            ) from error
        raise InvalidInput(f"'{folder}' cannot be loaded: {fact}") from error
