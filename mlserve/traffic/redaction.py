"""What of a request may be kept: a policy by tensor and by column, applied before anything is written.

A policy is a TOML file. Rules are ``keep``, ``drop``, ``hash`` (keyed, so that equal values stay equal and none can be
guessed without the key; of a float, whose hash would be no number, nothing is kept) and decimals to round to:

    default = "deny"              # what is not named is dropped; "keep" is the default of the default

    [inputs]
    amount = { round = 2 }
    name = "hash"
    x = { columns = { "0-3" = "keep", "4" = { round = 1 } } }      # along the last axis; the others by the default

    [models.fraud.outputs]        # for one model, before what holds for all
    probability = "keep"
"""

from __future__ import annotations

import hmac
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from mlserve.core.digests import canonical_json, digest_bytes
from mlserve.errors import InvalidConfig

Array = np.ndarray[Any, Any]

_WORDS = ("keep", "drop", "hash")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


class Rule(msgspec.Struct, frozen=True):
    """``word`` is keep, drop, hash or round, the last to ``decimals``; ``columns`` are rules along the last axis."""

    word: Literal["keep", "drop", "hash", "round"]
    decimals: int = 0
    columns: tuple[tuple[range, Rule], ...] = ()


KEEP, DROP = Rule("keep"), Rule("drop")
Rules = Mapping[tuple[str, str, str], Rule]
"""By model ("" for all), role ("input" or "output") and name."""


@dataclass(frozen=True, slots=True)
class Redaction:
    """A policy. ``key`` is for hashes; ``digest`` names the policy, not the key. The empty policy keeps everything."""

    rules: Rules = field(default_factory=dict)
    default: Rule = KEEP
    key: bytes | None = None
    digest: str | None = None

    @property
    def is_empty(self) -> bool:
        return not self.rules and self.default is KEEP

    def unit_key(self, text: str) -> str:
        """The hash that stands for a unit key in a capture, in hexadecimal: 32 digits."""
        if self.key is None:
            return sha256(text.encode()).hexdigest()[:32]
        return hmac.new(self.key, text.encode(), sha256).hexdigest()[:32]

    def apply(self, model: str, role: str, arrays: Mapping[str, Array] | None) -> Mapping[str, Array] | None:
        """What may be kept of ``arrays``; what is dropped whole is left out. The arrays given are never changed."""
        if self.is_empty or arrays is None:
            return arrays
        kept = {}
        for name, array in arrays.items():
            rule = self._rule(model, role, name)
            if rule.word != "drop" or rule.columns:
                kept[name] = self._redacted(rule, array)
        return kept

    def _rule(self, model: str, role: str, name: str) -> Rule:
        return self.rules.get((model, role, name)) or self.rules.get(("", role, name)) or self.default

    def _redacted(self, rule: Rule, array: Array) -> Array:
        if rule.columns:
            return self._by_column(rule, array)
        match rule.word:
            case "hash":
                return self._hashed(array)
            case "round":
                return _rounded(array, rule.decimals)
            case _:
                return array

    def _by_column(self, rule: Rule, array: Array) -> Array:
        if not array.ndim:
            return array
        made = np.array(array)
        seen = np.zeros(array.shape[-1], bool)
        for span, own in rule.columns:
            at = [column for column in span if column < array.shape[-1]]
            seen[at] = True
            made[..., at] = _blank(array[..., at]) if own.word == "drop" else self._redacted(own, array[..., at])
        if self.default.word == "drop" and not seen.all():
            rest = np.flatnonzero(~seen)
            made[..., rest] = _blank(array[..., rest])
        return made

    def _hashed(self, array: Array) -> Array:
        key = self.key
        assert key is not None, "a policy that hashes has a key"
        if array.dtype.kind == "O":
            texts = [hmac.new(key, str(value).encode(), sha256).hexdigest()[:32] for value in array.ravel().tolist()]
            made = np.empty(array.size, object)
            made[:] = texts
            return made.reshape(array.shape)
        if array.dtype.kind not in "iu":
            return _blank(array)
        width = array.dtype.itemsize
        flat = np.ascontiguousarray(array).reshape(-1).view(f"V{width}")
        digests = b"".join(hmac.new(key, bytes(value), sha256).digest()[:width] for value in flat)
        return np.frombuffer(digests, array.dtype).reshape(array.shape)


def read_policy(path: Path | None, key: bytes | None) -> Redaction:
    """The policy in a TOML file; without one, everything is kept. Raises InvalidConfig, naming file and place."""
    if path is None:
        return Redaction(key=key)
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidConfig(f"the redaction policy '{path}' cannot be read: {error}") from error
    rules: dict[tuple[str, str, str], Rule] = {}

    def wrong(where: str, what: str) -> InvalidConfig:
        return InvalidConfig(f"the redaction policy '{path}', {where}: {what}")

    default = {"keep": KEEP, "deny": DROP}.get(content.pop("default", "keep"))
    if default is None:
        raise wrong("default", "it is keep or deny")
    models = content.pop("models", {})
    for model, table in [("", content), *models.items()]:
        where = f"models.{model}" if model else "the top"
        if not isinstance(table, dict) or (unknown := table.keys() - {"inputs", "outputs"}):
            raise wrong(where, f"no '{next(iter(unknown))}' here" if isinstance(table, dict) else "it is no table")
        for role, named in table.items():
            for name, given in named.items():
                rules[model, role.removesuffix("s"), name] = _rule_of(given, partial(wrong, f"{role}.{name}"))
    if key is None and any(_hashes(rule) for rule in rules.values()):
        raise InvalidConfig(
            f"the redaction policy '{path}' hashes values, and there is no key",
            hint="serve.capture_key_file names a file with a secret of at least 16 bytes",
        )
    return Redaction(rules, default, key, digest_bytes(canonical_json(_plain(rules, default))))


Wrong = Callable[[str], InvalidConfig]


def _rule_of(given: Any, wrong: Wrong) -> Rule:
    if isinstance(given, str) and given in _WORDS:
        return Rule(given)  # type: ignore[arg-type]
    if isinstance(given, dict) and given.keys() == {"round"} and type(given["round"]) is int:
        return Rule("round", given["round"])
    if isinstance(given, dict) and given.keys() == {"columns"} and isinstance(given["columns"], dict):
        columns = []
        for span, rule in given["columns"].items():
            match = _RANGE.fullmatch(span)
            if match is None:
                raise wrong(f"'{span}' is no column, nor columns such as 0-3")
            first, last = int(match[1]), int(match[2] or match[1])
            columns.append((range(first, last + 1), _rule_of(rule, wrong)))
        return Rule("keep", columns=tuple(columns))
    raise wrong("a rule is keep, drop, hash, { round = DECIMALS } or { columns = … }")


def _hashes(rule: Rule) -> bool:
    return rule.word == "hash" or any(_hashes(own) for _, own in rule.columns)


def _plain(rules: Rules, default: Rule) -> dict[str, Any]:
    def words(rule: Rule) -> Any:
        return [rule.word, rule.decimals, [[span.start, span.stop, words(own)] for span, own in rule.columns]]

    return {"default": words(default)} | {"/".join(where): words(rule) for where, rule in sorted(rules.items())}


def _blank(array: Array) -> Array:
    """As long, with nothing in it: NaN, zero, false or the empty text."""
    if array.dtype.kind == "O":
        return np.full(array.shape, "", object)
    blank = np.zeros(array.shape, array.dtype)
    if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        blank[...] = np.nan
    return blank


def _rounded(array: Array, decimals: int) -> Array:
    return array if array.dtype.kind in "Ob" else np.round(array, decimals).astype(array.dtype)
