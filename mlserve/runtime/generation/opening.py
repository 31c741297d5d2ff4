"""A checkpoint folder opened: model and tokenizer, from these files alone, without running any code of theirs."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlserve.checkpoint.config import CheckpointConfig, read_config
from mlserve.checkpoint.packaging import checkpoint_files
from mlserve.core.plugins import missing_extra
from mlserve.errors import InvalidInput, MlserveError, Unavailable

NEEDED = ("torch", "transformers", "accelerate", "bitsandbytes")
TOOLS = ("torch", "transformers", "bitsandbytes")
EXTRA = "llm"

_NOISE = ("MatMul8bitLt: inputs will be cast", "Failed to load CPU gemm_4bit_forward")
"""bitsandbytes says the first for every layer of every run, and the second of a kernel that it can do without."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A loaded model with its tokenizer. ``max_tokens`` is the longest text it was made for, None where it says none.

    ``ends`` are the tokens after which a text is complete, ``memory_bytes`` what the weights take.
    """

    model: Any
    tokenizer: Any
    config: CheckpointConfig
    max_tokens: int | None
    ends: tuple[int, ...]
    pad: int
    memory_bytes: int


def require_packages() -> None:
    """Raises MissingExtra, naming the extra, where a package is not installed."""
    for module in NEEDED:
        if find_spec(module) is None:
            raise missing_extra(module, EXTRA)


def open_checkpoint(
    folder: Path, *, device: str = "cpu", label: str | None = None, quantization: Any = None, dtype: Any = "auto"
) -> Opened:
    """The checkpoint in ``folder`` on ``device``, in its own type unless ``dtype`` says another.

    ``quantization`` is a configuration of transformers that weights are quantized by as they are read; ``label`` what
    errors call the model. Only safetensors are read, nothing is downloaded, no code of the folder is run. Raises
    NotFound, MissingExtra, InvalidInput for a folder that cannot be loaded, Unavailable for a device that is not there.
    """
    config = read_config(folder)
    checkpoint_files(folder)
    require_packages()
    with quiet():
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

        if device == "cuda" and not torch.cuda.is_available():
            raise Unavailable("no CUDA device is available here", hint="--device cpu")
        only = {"local_files_only": True, "trust_remote_code": False}
        more = {} if quantization is None else {"quantization_config": quantization}
        shown = label or f"'{folder}'"
        with _loading(shown):
            tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", **only)
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=dtype, device_map={"": device}, use_safetensors=True, **only, **more
            )
    model.eval()
    ends = _ends(model, tokenizer)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else (ends[0] if ends else 0)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad)
    # The folder's own habits (sampling, penalties) are nobody's request.
    model.generation_config = GenerationConfig(eos_token_id=list(ends) or None, pad_token_id=pad, do_sample=False)
    longest = getattr(model.config, "max_position_embeddings", None)
    return Opened(
        model=model,
        tokenizer=tokenizer,
        config=config,
        max_tokens=longest if isinstance(longest, int) and longest > 0 else None,
        ends=ends,
        pad=pad,
        memory_bytes=int(model.get_memory_footprint()),
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing is fetched, and what the tools advise is kept back: what goes wrong they raise."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    silence()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def silence() -> None:
    """No more lines of bitsandbytes and transformers that say nothing of what was asked for."""
    for name in ("bitsandbytes", "bitsandbytes.autograd._functions", "bitsandbytes.backends.cpu.ops"):
        logger = logging.getLogger(name)
        if not any(isinstance(one, _Noise) for one in logger.filters):
            logger.addFilter(_Noise())
    if find_spec("transformers") is not None:
        from transformers.utils import logging as of_transformers

        of_transformers.set_verbosity_error()
        of_transformers.disable_progress_bar()


class _Noise(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith(_NOISE)


@contextmanager
def _loading(shown: str) -> Iterator[None]:
    try:
        yield
    except MlserveError:
        raise
    except MemoryError as error:
        raise Unavailable(f"out of memory while loading {shown}") from error
    except Exception as error:  # the packages raise anything, errors of their Rust parts included
        fact = " ".join(str(error).split())[:300] or type(error).__name__
        raise InvalidInput(f"{shown} cannot be loaded: {fact}") from error


def _ends(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end a text: the generation's configuration before the model's, and the tokenizer's own."""
    told = getattr(model.generation_config, "eos_token_id", None)
    told = getattr(model.config, "eos_token_id", None) if told is None else told
    found = [*(told if isinstance(told, list) else [told]), tokenizer.eos_token_id]
    return tuple(dict.fromkeys(token for token in found if isinstance(token, int)))
