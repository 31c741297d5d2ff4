"""The comparison of a shadow with production: the ladder as one object that packs, merges and tells."""

from __future__ import annotations

from typing import Any

import msgspec

from mlserve.compare.labels import Agreement, agreement
from mlserve.compare.pairs import Pairs
from mlserve.compare.tolerance import Difference, compare
from mlserve.errors import MlserveError

RTOL, ATOL = 1e-3, 1e-5


class Judgement:
    """What was learned of pairs of answers."""

    def __init__(self) -> None:
        self._difference = Difference()
        self._agreement = Agreement()

    @property
    def counts(self) -> tuple[int, int, int]:
        """Rows, those identical, and those within tolerance."""
        found = self._difference
        return found.rows, found.identical_rows, found.rows_within

    def add(self, pairs: Pairs) -> None:
        self._difference = self._difference.merge(compare(pairs.expected, pairs.actual, rtol=RTOL, atol=ATOL))
        try:
            self._agreement = self._agreement.merge(agreement(pairs.expected, pairs.actual))
        except MlserveError:
            return

    def merge(self, other: Judgement) -> None:
        self._difference = self._difference.merge(other._difference)
        self._agreement = self._agreement.merge(other._agreement)

    def figures(self) -> dict[str, Any]:
        agreed = self._agreement
        return {"agreement": agreed.share if agreed.total else None, "metrics": {}}

    def packed(self) -> bytes:
        return msgspec.msgpack.encode([self._difference, self._agreement])

    @classmethod
    def unpacked(cls, content: bytes) -> Judgement:
        made = cls()
        made._difference, made._agreement = msgspec.msgpack.decode(content, type=tuple[Difference, Agreement])
        return made
