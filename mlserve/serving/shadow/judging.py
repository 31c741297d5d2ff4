"""The comparison of a shadow with production: the ladder, as it is kept, merged and told of."""

from __future__ import annotations

from typing import Any

from mlserve.compare.ladder.comparison import Comparison, ComparisonPlan
from mlserve.compare.ladder.packing import pack, unpack
from mlserve.compare.pairs import Pairs
from mlserve.errors import InvalidInput, MlserveError

_OF_INPUTS = ("worst", "explanation")
"""Parts of a comparison's figures for which inputs are kept; a replay of the capture has them."""


class Judgement:
    """What was learned of pairs of answers."""

    def __init__(self, plan: ComparisonPlan | None = None) -> None:
        self._comparison = Comparison(plan)

    @property
    def plan(self) -> ComparisonPlan:
        return self._comparison.plan

    @property
    def counts(self) -> tuple[int, int, int]:
        """Rows, those identical, and those within tolerance."""
        found = self._comparison.exactness
        return found.rows, found.identical, found.within_tolerance

    def add(self, pairs: Pairs) -> None:
        """Learn from ``pairs``. Raises what the ladder raises for answers that it cannot compare."""
        self._comparison.add(pairs)

    def merge(self, other: Judgement) -> None:
        """Learn what ``other`` has. Raises InvalidInput where it was made by another plan."""
        self._comparison.merge(other._comparison)

    def figures(self) -> dict[str, Any]:
        """The parts of the document that come of comparing."""
        return {
            name: value for name, value in self._comparison.figures(explain=False).items() if name not in _OF_INPUTS
        }

    def packed(self) -> bytes:
        return pack(self._comparison.state())

    @classmethod
    def unpacked(cls, content: bytes) -> Judgement:
        """The inverse of ``packed``. Raises InvalidInput for what is none, or was learned by another release."""
        made = cls()
        try:
            made._comparison = Comparison.from_state(unpack(content))
        except MlserveError:
            raise
        except Exception as error:
            raise InvalidInput(f"what a shadow had learned cannot be read: {type(error).__name__}") from error
        return made
