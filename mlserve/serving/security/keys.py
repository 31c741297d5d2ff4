"""API keys: a file with a line a key, its name, scopes and hash, never the key itself.

billing-batch infer 6f0c…      a key is 256 random bits, so one SHA-256 of it is enough: there is nothing to guess
ops infer,manage,metrics 91ab…  that a slow hash would make slower
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlserve.core.files import replacing
from mlserve.errors import Conflict, InvalidConfig, NotFound, UsageError

SCOPES = ("infer", "manage", "metrics")
PREFIX = "mlserve_"
"""What a key begins with, so that scanners for leaked secrets can know it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")
_RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True)
class Key:
    """One key as the file has it: ``digest`` is the SHA-256 of its text, in hexadecimal."""

    name: str
    scopes: frozenset[str]
    digest: str

    @property
    def line(self) -> str:
        return f"{self.name} {','.join(scope for scope in SCOPES if scope in self.scopes)} {self.digest}"


class Keys:
    """The keys of one file, by what they hash to."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self.keys = tuple(keys)
        self._by_digest: Mapping[str, Key] = {key.digest: key for key in self.keys}

    def find(self, text: str) -> Key | None:
        """The key that ``text`` is. What is compared are hashes, so how long it takes tells nothing of a key."""
        return self._by_digest.get(hash_of(text))


def hash_of(text: str) -> str:
    """The SHA-256 of a key's text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def read_keys(path: Path) -> Keys:
    """The keys in ``path``. Raises NotFound for no such file, InvalidConfig with the line that cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise NotFound(f"no file '{path}' of API keys", hint=f"mlserve keys add NAME --file {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"cannot read the API keys in '{path}': {error}") from error
    keys: dict[str, Key] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        key = _parsed(words)
        if key is None or key.name in keys:
            raise InvalidConfig(f"line {number} of '{path}' is no 'NAME SCOPE[,SCOPE] SHA256', or its name comes twice")
        keys[key.name] = key
    return Keys(keys.values())


def add_key(path: Path, name: str, scopes: Iterable[str]) -> str:
    """Make a key called ``name`` with ``scopes``, put its hash into ``path``, and return the key's text, once.

    Raises UsageError for a name or scope that is none, Conflict for a name that is taken.
    """
    wanted = frozenset(scopes)
    unknown = sorted(wanted - set(SCOPES))
    if unknown or not wanted:
        raise UsageError(f"'{', '.join(unknown)}' is no scope", hint=f"--scope {'|'.join(SCOPES)}")
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' is no name for a key: letters, digits, '.', '_' and '-'")
    known = read_keys(path).keys if path.exists() else ()
    if any(key.name == name for key in known):
        raise Conflict(f"a key called '{name}' is there already", hint=f"mlserve keys remove {name}")
    text = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    _write(path, (*known, Key(name, wanted, hash_of(text))))
    return text


def remove_key(path: Path, name: str) -> Key:
    """Take the key called ``name`` out of ``path``. Raises NotFound."""
    known = read_keys(path).keys
    found = next((key for key in known if key.name == name), None)
    if found is None:
        raise NotFound(f"no key called '{name}' in '{path}'", hint="mlserve keys list")
    _write(path, [key for key in known if key is not found])
    return found


def _parsed(words: list[str]) -> Key | None:
    if len(words) != 3 or not _NAME.fullmatch(words[0]) or not _HASH.fullmatch(words[2]):
        return None
    scopes = frozenset(words[1].split(","))
    return Key(words[0], scopes, words[2]) if scopes <= set(SCOPES) else None


def _write(path: Path, keys: Iterable[Key]) -> None:
    with replacing(path) as partial:
        partial.touch(mode=0o600)
        partial.write_text("".join(f"{key.line}\n" for key in keys), encoding="utf-8")
        if path.exists():
            # The server may read it as another user, by its group: a key taken back must not lock it out.
            shutil.copymode(path, partial)
