"""The rules of a BERT tokenizer, read as ``wordpiece_graph`` needs them, or refused.

What becomes of a character (lower case, without accents, alone, nothing) is asked of the tokenizer itself, one by one,
and not written down here a second time.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from mlserve.errors import Unsupported

ROW = "\U000f0000"
"""Between rows. Private characters are nothing to BERT's normaliser, so those in a text are taken out before."""

UNKNOWN = "\ufffd"
"""Stands for what is in no piece of the vocabulary, and makes its word the unknown token."""

_PROBE = "\U0001f600"
"""A character that no rule touches, to tell others apart in one long text."""

_ASSIGNED = 0x33480
"""Below it lie all scripts of Unicode 16, and what is not yet assigned among them."""

LONG_RANGE = 64
"""So many characters in a row that are words of their own, as Chinese ones, are written as a range."""


@dataclass(frozen=True, slots=True)
class WordPiece:
    """A tokenizer's rules. ``pieces`` by id; ``first`` and ``last`` go around every text.

    ``characters`` says what each becomes, words being separated by spaces; one that is not in it is unknown. Those in
    ``alone``, ranges of code points with both ends, are words of their own. ``max_tokens`` counts the frame too.
    """

    pieces: tuple[str, ...]
    prefix: str
    characters: Mapping[str, str]
    alone: tuple[tuple[int, int], ...]
    special: tuple[str, ...]
    first: str
    last: str
    unknown: str
    padding_id: int
    max_tokens: int


def read_wordpiece(rules: dict[str, Any], backend: Any, *, padding_id: int, max_tokens: int) -> WordPiece:
    """The tokenizer of ``rules``, the document of tokenizer.json; ``backend`` is its live form, of package tokenizers.

    Raises Unsupported for any rule that the graph would not follow to the letter.
    """
    model = rules["model"]
    pieces = _pieces(model["vocab"])
    for part, allowed in (("normalizer", "BertNormalizer"), ("pre_tokenizer", "BertPreTokenizer")):
        found = (rules.get(part) or {}).get("type")
        if found != allowed:
            raise Unsupported(f"the tokenizer's {part} is {found}, and only {allowed} can be put into a graph")
    if not rules["normalizer"].get("clean_text") or model["max_input_chars_per_word"] != 100:
        raise Unsupported("the tokenizer keeps control characters or words of another length than BERT's")
    first, last = _frame(backend)
    prefix = model["continuing_subword_prefix"]
    special = _special(rules.get("added_tokens", []), model["vocab"])
    _check_alphabet(pieces, prefix, special)
    characters = _characters(backend, {piece.removeprefix(prefix) for piece in pieces if piece not in special})
    alone = tuple(_ranges(characters))
    return WordPiece(
        pieces=pieces,
        prefix=prefix,
        characters=_without_unknown(characters, alone),
        alone=alone,
        special=special,
        first=first,
        last=last,
        unknown=model["unk_token"],
        padding_id=padding_id,
        max_tokens=max_tokens,
    )


def _pieces(vocabulary: dict[str, int]) -> tuple[str, ...]:
    ordered = sorted(vocabulary, key=vocabulary.__getitem__)
    if [vocabulary[piece] for piece in ordered] != list(range(len(ordered))):
        raise Unsupported("the tokenizer's vocabulary leaves ids out")
    if any(not piece or re.search(r"[\r\n]", piece) for piece in ordered):
        raise Unsupported("the tokenizer's vocabulary has an empty piece or one with a line break")
    return tuple(ordered)


def _frame(backend: Any) -> tuple[str, str]:
    """The tokens put before and after every text."""
    frame = backend.encode("").tokens
    if len(frame) != 2 or backend.encode("a").tokens[:: len(backend.encode("a").tokens) - 1] != frame:
        raise Unsupported(f"the tokenizer puts {frame} around a text, and not one token before and one after it")
    return frame[0], frame[1]


def _special(added: Sequence[dict[str, Any]], vocabulary: dict[str, int]) -> tuple[str, ...]:
    for token in added:
        if token["single_word"] or token["normalized"] or token["content"] not in vocabulary:
            raise Unsupported(f"the tokenizer's added token '{token['content']}' is no plain special token")
    return tuple(token["content"] for token in added)


def _check_alphabet(pieces: Sequence[str], prefix: str, special: Sequence[str]) -> None:
    """Every character of a piece is a piece itself: only then is a word unknown just where a character of it is."""
    known = set(pieces)
    for piece in pieces:
        if piece in special:
            continue
        is_inner = piece.startswith(prefix) and len(piece) > len(prefix)
        inner = piece[len(prefix) :] if is_inner else piece[1:]
        if any(prefix + character not in known for character in inner) or (not is_inner and piece[0] not in known):
            raise Unsupported(
                f"the vocabulary has '{piece}' and not each of its characters, so a graph cannot tell unknown words",
                hint="leave out --text, and tokenize before the model",
            )


def _characters(backend: Any, known: set[str]) -> dict[str, str]:
    """What each character becomes, words being separated by spaces; one that has no category is left out.

    The tokenizer's own rules are asked, all characters at once: each goes in between two that nothing touches. Private
    characters are asked for by one of them, and left out: the graph deletes them first.
    """
    if backend.normalizer.normalize_str(ROW):
        raise Unsupported("the tokenizer keeps private characters, one of which separates rows in the graph")
    candidates = [character for character in map(chr, range(0x110000)) if _is_asked(character)]
    normalised = backend.normalizer.normalize_str(_PROBE + _PROBE.join(candidates) + _PROBE).split(_PROBE)[1:-1]
    alphabet = sorted(set("".join(normalised)))
    alone = _isolated(backend, alphabet)
    shown = {character: _spaced(character, alone, known) for character in alphabet}
    table = {one: "".join(map(shown.__getitem__, many)) for one, many in zip(candidates, normalised, strict=True)}
    return table | {_PROBE: _PROBE if _PROBE in known else UNKNOWN}


def _is_asked(character: str) -> bool:
    category = unicodedata.category(character)
    return category not in ("Co", "Cs") and (category != "Cn" or ord(character) < _ASSIGNED) and character != _PROBE


def _isolated(backend: Any, alphabet: Sequence[str]) -> set[str]:
    """The characters that are words of their own."""
    split = backend.pre_tokenizer.pre_tokenize_str(" ".join(f"a{character}a" for character in alphabet))
    return {word for word, _ in split if len(word) == 1 and word != "a"}


def _spaced(character: str, alone: set[str], known: set[str]) -> str:
    if character.isspace():
        return " "
    shown = character if character in known else UNKNOWN
    return f" {shown} " if character in alone else shown


def _ranges(table: Mapping[str, str]) -> list[tuple[int, int]]:
    """The long runs of code points that become themselves, or the unknown character, with spaces around."""
    codes = [ord(one) for one, many in table.items() if many in (f" {UNKNOWN} ", f" {one} ")]
    runs = [[code for _, code in run] for _, run in groupby(enumerate(sorted(codes)), lambda pair: pair[1] - pair[0])]
    return [(run[0], run[-1]) for run in runs if len(run) >= LONG_RANGE]


def _without_unknown(table: Mapping[str, str], alone: Sequence[tuple[int, int]]) -> dict[str, str]:
    def is_unknown(one: str, many: str) -> bool:
        return many == UNKNOWN or (many == f" {UNKNOWN} " and any(low <= ord(one) <= high for low, high in alone))

    return {one: many for one, many in table.items() if not is_unknown(one, many)}
