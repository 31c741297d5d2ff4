"""Very many values of few kinds, counted: how often each comes, how many nulls, and which the reference has not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pyarrow as pa

from mlserve.errors import InvalidInput
from mlserve.rows.tables import Array

TRACKED = 4096
"""So many different values are counted one by one at most; of more, the rarest are thrown together."""


@dataclass(slots=True)
class CategorySummary:
    """Mergeable. ``counts`` is by the value as text; ``other`` counts the rows of values too rare to be kept.

    ``known`` are values that are never thrown together: the reference's, when a window is counted.
    """

    known: frozenset[str] = frozenset()
    rows: int = 0
    nulls: int = 0
    other: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, values: Array) -> None:
        """Count ``values``, (rows,) of numbers, booleans or text."""
        self.rows += len(values)
        for text, count in _counted(values).items():
            if text is None:
                self.nulls += count
            else:
                self.counts[text] = self.counts.get(text, 0) + count
        self._prune()

    def merge(self, other: Self) -> None:
        """Count all that ``other`` has."""
        self.rows += other.rows
        self.nulls += other.nulls
        self.other += other.other
        for text, count in other.counts.items():
            self.counts[text] = self.counts.get(text, 0) + count
        self._prune()

    def empty(self) -> CategorySummary:
        """One that has counted nothing and knows the values of this one."""
        return CategorySummary(frozenset(self.counts))

    @property
    def present(self) -> int:
        """How many rows have a value."""
        return self.rows - self.nulls

    @property
    def is_constant(self) -> bool:
        return len(self.counts) == 1 and not self.other

    def unseen(self, allowed: frozenset[str]) -> dict[str, int]:
        """The values outside of ``allowed`` and how often they came, most often first."""
        found = {text: count for text, count in self.counts.items() if text not in allowed}
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def to_dict(self) -> dict[str, Any]:
        ordered = dict(sorted(self.counts.items(), key=lambda item: (-item[1], item[0])))
        return {
            "kind": "categorical",
            "rows": self.rows,
            "nulls": self.nulls,
            "other": self.other,
            "values": list(ordered),
            "counts": list(ordered.values()),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """The inverse of ``to_dict``; ``known`` is not kept. Raises InvalidInput."""
        try:
            counts = dict(zip(fields["values"], fields["counts"], strict=True))
            return cls(rows=fields["rows"], nulls=fields["nulls"], other=fields["other"], counts=counts)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput("not the summary of a categorical column") from error

    def _prune(self) -> None:
        free = [text for text in self.counts if text not in self.known]
        if len(free) <= TRACKED:
            return
        # Down to half, so that a column of ever new values is not sorted at each block.
        rarest = sorted(free, key=lambda text: (self.counts[text], text))[: len(free) - TRACKED // 2]
        for text in rarest:
            self.other += self.counts.pop(text)


def as_category(value: Any) -> str:
    """A value as the text that it is counted under: whole numbers without a point, booleans in lower case.

    >>> as_category(3.0), as_category(True), as_category("blue"), as_category(2.5)
    ('3', 'true', 'blue', '2.5')
    """
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _counted(values: Array) -> dict[str | None, int]:
    found: dict[str | None, int] = {}
    pairs: Iterable[tuple[Any, int]]
    try:
        tallied = pa.array(values, from_pandas=True).value_counts()
        pairs = zip(tallied.field("values").to_pylist(), tallied.field("counts").to_pylist(), strict=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):  # objects of several types
        pairs = Counter(None if value != value else value for value in values.tolist()).items()
    for value, count in pairs:
        text = None if value is None or value != value else as_category(value)
        found[text] = found.get(text, 0) + count
    return found
