"""Which arm of an experiment a unit is in: a hash of its key, the same on every machine and in every release.

    position = first 8 bytes of BLAKE2b(salt, 0, key) as a share of 2**64          in [0, 1)

    0 ──── arm 1 ────┬─ arm 2 ─┬──────────── arm 0: the champion ──────────── 1
              share 1   share 2

The server, and whoever looks at its traffic later, come to the same arm from the same three values. Raising a
challenger's share keeps every unit it has and only adds others; lowering it only takes some away. Whoever is in the
experiment by one salt says nothing about another.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

CHAMPION = 0
"""The arm of every unit that no challenger has."""

_WHOLE = 1 << 64


def arm_of(unit_key: str, salt: str, shares: Sequence[float]) -> int:
    """The arm of ``unit_key``: ``CHAMPION``, or 1 for the first of the challengers' ``shares``, 2 for the second, ….

    ``shares`` are from 0 to 1 and add up to 1 at most. With several challengers, raising the share of one moves the
    ones behind it; whoever wants them unmoved raises the last.

    >>> [arm_of(f"user-{number}", "fraud:7", [0.3]) for number in range(8)]
    [1, 0, 0, 1, 0, 0, 0, 0]
    """
    position = position_of(unit_key, salt)
    end = 0.0
    for arm, share in enumerate(shares, 1):
        end += share
        if position < int(end * _WHOLE):
            return arm
    return CHAMPION


def position_of(unit_key: str, salt: str) -> int:
    """Where ``unit_key`` falls, from 0 up to 2**64, uniform over keys.

    Source of the hash: RFC 7693, BLAKE2b of 8 bytes, without a key; texts as UTF-8 with a zero byte between them.
    """
    text = b"%b\0%b" % (salt.encode(), unit_key.encode("utf-8", "surrogatepass"))
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big")


def salt_of(name: str, challenger_version: int) -> str:
    """The salt of an experiment: its challenger's ref.

    Neither the stage's generation nor the share is in it, so that a ramp from 5 % to 20 %, which is a move of its own,
    keeps the 5 %; each new challenger draws anew.

    >>> salt_of("fraud", 7)
    'fraud:7'
    """
    return f"{name}:{challenger_version}"
