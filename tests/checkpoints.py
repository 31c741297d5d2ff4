"""Small causal language models, trained here for some seconds on the standard library's own documentation strings."""

from __future__ import annotations

import ast
import inspect
import json
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Shape = Literal["llama", "gpt2"]

MODULES = (
    "argparse", "ast", "asyncio/tasks", "base64", "bisect", "calendar", "cmd", "codecs", "collections/__init__",
    "configparser", "contextlib", "copy", "csv", "dataclasses", "datetime", "difflib", "doctest", "email/message",
    "enum", "fileinput", "fractions", "ftplib", "functools", "getopt", "gettext", "glob", "gzip", "heapq", "hmac",
    "http/client", "imaplib", "inspect", "ipaddress", "json/__init__", "json/decoder", "locale", "logging/__init__",
    "mailbox", "mimetypes", "nntplib", "optparse", "os", "pathlib", "pdb", "pickle", "pickletools", "platform",
    "poplib", "pprint", "profile", "pstats", "queue", "random", "re/__init__", "sched", "shelve", "shlex", "shutil",
    "smtplib", "socket", "socketserver", "ssl", "statistics", "string", "subprocess", "tarfile", "tempfile",
    "textwrap", "threading", "timeit", "trace", "traceback", "turtle", "typing", "unittest/case", "unittest/mock",
    "urllib/parse", "urllib/request", "uuid", "warnings", "weakref", "xmlrpc/client", "zipfile",
)  # fmt: skip
HELD_OUT = 10
"""Every tenth documentation string is kept for evaluation."""

VOCABULARY = 384
WINDOW = 64


@dataclass(frozen=True, slots=True)
class Trained:
    """A checkpoint folder, and a text file that it has never seen."""

    folder: Path
    held_out: Path


def documentation() -> list[str]:
    """The documentation strings of the standard library's modules, those of functions and classes each by itself."""
    library = Path(sysconfig.get_path("stdlib"))
    return [text for name in MODULES for text in _strings(library / f"{name}.py")]


def _strings(path: Path) -> Iterator[str]:
    if not path.is_file():
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield inspect.cleandoc(text) + "\n"


def train(folder: Path, shape: Shape, *, steps: int, seed: int = 0) -> Trained:
    """A checkpoint of ``shape`` in ``folder``, trained for ``steps`` batches, with what it was not trained on."""
    import torch

    texts = documentation()
    seen = [text for number, text in enumerate(texts) if number % HELD_OUT]
    held_out = folder.with_name(f"{folder.name}-held-out.txt")
    held_out.write_text("\n".join(texts[::HELD_OUT])[:24_000], encoding="utf-8")
    tokenizer = make_tokenizer(seen)
    model = make_model(shape, seed=seed, pad=tokenizer.eos_token_id)
    separator = [tokenizer.eos_token_id]
    tokens = torch.tensor([token for ids in tokenizer(seen)["input_ids"] for token in [*ids, *separator]])
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=steps)
    torch.set_num_threads(1)  # for good: more of them wait for each other, in models this small
    model.train()
    for _ in range(steps):
        starts = torch.randint(0, len(tokens) - WINDOW, (16,), generator=generator)
        batch = torch.stack([tokens[start : start + WINDOW] for start in starts])
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    save(folder, model, tokenizer)
    return Trained(folder, held_out)


def make_tokenizer(texts: list[str]) -> Any:
    """A byte-level BPE of ``VOCABULARY`` tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", model_input_names=["input_ids", "attention_mask"]
    )


def make_model(shape: Shape, *, seed: int, pad: int) -> Any:
    """Random weights of ``shape``, of about a hundred thousand parameters."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    ends = {"bos_token_id": pad, "eos_token_id": pad, "pad_token_id": pad}
    if shape == "llama":
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCABULARY,
                hidden_size=64,
                intermediate_size=192,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=256,
                tie_word_embeddings=True,
                **ends,
            )
        )
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=64,
            n_layer=2,
            n_head=4,
            n_positions=256,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            **ends,
        )
    )


def save(folder: Path, model: Any, tokenizer: Any) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def dtypes_in(weights: Path) -> dict[str, str]:
    """The type of each tensor in a safetensors file, by its name."""
    with weights.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return {name: entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
