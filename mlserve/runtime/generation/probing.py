"""Whether texts of several requests may share a run: the next token of each, alone and padded beside longer ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from mlserve.errors import MlserveError
from mlserve.runtime.certificate import Certificate
from mlserve.runtime.generation.generating import Generator

PROMPTS = (
    "The",
    "Return the number of",
    "1 2 3 4 5 6 7 8",
    "A text that is longer than the others, so that they are filled up to its length when all are run together",
)

MAX_KL = 1e-2
"""Nats between the next token's chances alone and in the batch: more than arithmetic in half precision moves them, and
a hundredth of what a wrong mask or position does."""


def certify(generator: Generator, prompts: Sequence[str] = PROMPTS) -> Certificate:
    """What running ``prompts`` together changes, in logits. Never raises for a model that cannot be run together."""
    tokenizer, longest = generator.opened.tokenizer, generator.opened.max_tokens
    rows = [row for row in (tokenizer(prompt)["input_ids"][: longest and longest - 1] for prompt in prompts) if row]
    verdict = partial(
        Certificate, max_ulp=-1, provider=str(generator.opened.model.device.type), threads=torch.get_num_threads()
    )
    try:
        together = _next_logits(generator, rows)
        alone = torch.cat([_next_logits(generator, [row]) for row in rows])
    except (MlserveError, RuntimeError, ValueError, IndexError, TypeError) as error:
        return verdict(False, "none", -1.0, reason=f"several texts cannot be run together: {error}"[:300])
    max_abs = float((together - alone).abs().max())
    likely, less = alone.log_softmax(-1), together.log_softmax(-1)
    max_kl = float((likely.exp() * (likely - less)).sum(-1).max().clamp(min=0.0))
    if not max_kl <= MAX_KL:
        return verdict(False, "none", max_abs, reason="a text's answer changes with what it is filled up to")
    return verdict(True, "exact" if max_abs == 0.0 else "close", max_abs, reason="alone equals together in the probe")


def _next_logits(generator: Generator, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """(rows, vocabulary): prepared as transformers' own loop prepares them."""
    ids, mask = generator.padded(rows)
    out = generator.opened.model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=1, output_logits=True, return_dict_in_generate=True
    )
    logits: torch.Tensor = out.logits[0].double()
    return logits
