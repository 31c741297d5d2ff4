"""Texts continued, several at a time: each row by its own wish, as if it were alone.

Rows are padded on the left and masked; transformers' own loop runs them, greedily, and what is drawn at random is drawn
before it looks: a row's generator is its own, so that its neighbours change nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from mlserve.checkpoint.generation import Wish
from mlserve.errors import DeadlineExceeded, InvalidInput, MlserveError, Unavailable
from mlserve.runtime.generation.opening import Opened


@dataclass(frozen=True, slots=True)
class Continuation:
    """A text that was continued. ``reason`` is ``stop`` at its own end, ``length`` at the tokens asked for."""

    text: str
    reason: str
    input_tokens: int
    output_tokens: int


class Generator:
    """Continues texts with one opened checkpoint; one call at a time. ``clock`` is in seconds."""

    def __init__(self, opened: Opened, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.opened = opened
        self._clock = clock

    def generate(
        self, prompts: Sequence[str], wishes: Sequence[Wish], *, limit_s: float | None = None
    ) -> list[Continuation]:
        """One continuation for each of ``prompts``, in order.

        Raises InvalidInput for a prompt that leaves no room, before anything is run; DeadlineExceeded after
        ``limit_s``; Unavailable when memory runs out.
        """
        rows = [self._row(prompt, wish) for prompt, wish in zip(prompts, wishes, strict=True)]
        until_s = None if limit_s is None else self._clock() + limit_s
        while unfinished := [row for row in rows if row.room]:
            self._go_on(unfinished, until_s)
            if until_s is not None and self._clock() > until_s and any(row.room for row in rows):
                raise DeadlineExceeded(f"the texts were not continued within {limit_s:g} s")
        return [self._continuation(prompt, row) for prompt, row in zip(prompts, rows, strict=True)]

    def _go_on(self, rows: Sequence[_Row], until_s: float | None) -> None:
        """As far as all ``rows`` can go together: positions of one that is full are taken from none."""
        longest = self.opened.max_tokens
        steps = max(row.room for row in rows)
        if longest is not None:
            steps = min(steps, longest - max(len(row.tokens) for row in rows))
        ids, mask = self.padded([row.tokens for row in rows])
        stopping = _Stopping(ids.shape[1], [row.room for row in rows], until_s, self._clock)
        with _our_errors():
            out = self.opened.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=steps,
                logits_processor=LogitsProcessorList([_Choosing(rows)]),
                stopping_criteria=StoppingCriteriaList([stopping]),
            )
        for row, fresh in zip(rows, out[:, ids.shape[1] :].tolist(), strict=True):
            row.take(fresh, self.opened.ends)

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """``rows`` of tokens as one (rows, longest) array with the padding on the left, and its mask."""
        longest = max(len(row) for row in rows)
        ids = [[self.opened.pad] * (longest - len(row)) + list(row) for row in rows]
        mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
        device = self.opened.model.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)

    def _row(self, prompt: str, wish: Wish) -> _Row:
        tokens = self._tokens(prompt)
        longest = self.opened.max_tokens
        if longest is not None and len(tokens) >= longest:
            raise InvalidInput(f"text_input has {len(tokens)} tokens, and the model takes {longest} with what follows")
        room = wish.max_tokens if longest is None else min(wish.max_tokens, longest - len(tokens))
        return _Row(wish, tokens, len(tokens), room, _generator(wish, self.opened.model.device))

    def _tokens(self, prompt: str) -> list[int]:
        try:
            tokens: list[int] = self.opened.tokenizer(prompt)["input_ids"]
        except (TypeError, ValueError) as error:  # lone surrogates
            raise InvalidInput("text_input is no Unicode text") from error
        if not tokens:
            if not self.opened.ends:
                raise InvalidInput("text_input is empty, and the model has no token to begin with")
            return [self.opened.ends[0]]
        return tokens

    def _continuation(self, prompt: str, row: _Row) -> Continuation:
        fresh = row.tokens[row.given :]
        text = self.opened.tokenizer.decode(fresh, skip_special_tokens=True)
        reason = "stop" if row.is_complete else "length"
        return Continuation(prompt + text if row.wish.echoes else text, reason, row.given, len(fresh))


@dataclass(slots=True)
class _Row:
    """A text under way: its tokens, of which ``given`` are the prompt, and the ``room`` for more."""

    wish: Wish
    tokens: list[int]
    given: int
    room: int
    generator: torch.Generator | None
    is_complete: bool = False

    def take(self, fresh: Sequence[int], ends: Sequence[int]) -> None:
        """Take what came, as far as there is room; from one of ``ends`` on it is filling."""
        fresh = fresh[: self.room]
        end = next((at for at, token in enumerate(fresh) if token in ends), None)
        self.is_complete = end is not None
        self.tokens = [*self.tokens, *fresh[:end]]
        self.room = 0 if self.is_complete else self.room - len(fresh)


class _Choosing(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Draws the next token of each row that asks for chance, and leaves no other to choose."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self._drawn = [
            (number, row.wish, row.generator) for number, row in enumerate(rows) if row.generator is not None
        ]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        for row, wish, generator in self._drawn:
            token = draw(scores[row], wish, generator)
            scores[row] = float("-inf")
            scores[row, token] = 0.0
        return scores


def draw(scores: torch.Tensor, wish: Wish, generator: torch.Generator) -> int:
    """A token drawn from ``scores`` (vocabulary,), among the likeliest that together reach ``top_p``."""
    chances = torch.softmax(scores.double() / wish.temperature, dim=-1)
    if wish.top_p < 1.0:
        ordered, order = chances.sort(descending=True)
        # A token is out when those before it reach top_p; the first never is.
        ordered[ordered.cumsum(-1) - ordered >= wish.top_p] = 0.0
        chances = torch.zeros_like(chances).scatter(0, order, ordered)
    return int(torch.multinomial(chances, 1, generator=generator))


def _generator(wish: Wish, device: torch.device) -> torch.Generator | None:
    """What a row draws from, for as long as it is under way; None where nothing is left to chance."""
    if wish.temperature == 0.0:
        return None
    generator = torch.Generator(device=device)
    if wish.seed is None:
        generator.seed()
    else:
        generator.manual_seed(wish.seed)
    return generator


class _Stopping(StoppingCriteria):  # type: ignore[misc]  # transformers is untyped here
    """Ends each row at its own length, and all of them when the time is up."""

    def __init__(self, start: int, room: Sequence[int], until_s: float | None, clock: Callable[[], float]) -> None:
        self._start = start
        self._room = torch.tensor(room)
        self._until_s = until_s
        self._clock = clock

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        done = (self._room <= input_ids.shape[1] - self._start).to(input_ids.device)
        return torch.ones_like(done) if self._until_s is not None and self._clock() > self._until_s else done


@contextmanager
def _our_errors() -> Iterator[None]:
    """Foreign errors of a run become ours."""
    try:
        yield
    except MlserveError:
        raise
    except Exception as error:  # models raise anything
        if isinstance(error, MemoryError) or "out of memory" in str(error) or "allocate memory" in str(error):
            raise Unavailable("out of memory while continuing the texts") from error
        fact = " ".join(str(error).split())[:300] or type(error).__name__
        raise InvalidInput(f"the model refused the texts: {fact}") from error
