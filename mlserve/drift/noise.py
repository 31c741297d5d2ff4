"""How large an effect is without any drift: the reference against itself, in the sizes that windows have.

    counts of the reference ──draws of n rows──► effect of chance alone, by n
    its rows in their order ──pieces─────────► effect of ordinary change from piece to piece, if their order is of time

A feature alerts only beyond both, and beyond what is worth knowing at all (``LEAST``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, Self

import numpy as np

from mlserve.drift.effects import (
    EffectName,
    Summary,
    category_counts,
    counts_of,
    effect_name,
)
from mlserve.drift.numeric import NumericSummary
from mlserve.errors import InvalidInput
from mlserve.rows.tables import Array

SIZES = (100, 300, 1000, 3000, 10_000, 100_000)
DRAWS = 200
QUANTILE = 0.99
LEAST: Mapping[EffectName, float] = {"wasserstein_sd": 0.1, "total_variation": 0.02}
"""A tenth of a standard deviation, two rows in a hundred: less is no drift that anybody acts on."""
PIECES = 32
"""The reference is cut into 16 to 32 pieces, whatever its length."""
FEWEST_PIECES = 8
FEWEST_PIECE_ROWS = 50


@dataclass(frozen=True, slots=True)
class Noise:
    """The effect that a column reaches without drift. ``by_chance`` is for windows of each of ``sizes`` rows.

    ``by_time`` is what pieces of ``piece_rows`` rows differ by from all of the reference beyond chance; None where the
    order of the reference says nothing, or there are too few.
    """

    effect: EffectName
    sizes: tuple[int, ...]
    by_chance: tuple[float, ...]
    by_time: float | None = None
    piece_rows: int | None = None

    def threshold(self, rows: int) -> float:
        """The effect that a window of ``rows`` rows must reach to be drift.

        >>> Noise("wasserstein_sd", (100, 10_000), (0.4, 0.04)).threshold(1000)
        0.1265
        """
        if rows < 1 or not self.sizes:
            return LEAST[self.effect]
        return round(max(float(np.hypot(self.chance(rows), self.by_time or 0.0)), LEAST[self.effect]), 4)

    def chance(self, rows: int) -> float:
        """The effect that chance alone reaches in a window of ``rows`` rows, once in a hundred."""
        if rows < self.sizes[0]:
            return self.by_chance[0] * float(np.sqrt(self.sizes[0] / rows))
        # It falls with the root of the rows, which is a straight line in logarithms.
        known = np.log(np.maximum(self.by_chance, 1e-9))
        return float(np.exp(np.interp(np.log(rows), np.log(self.sizes), known)))

    def to_dict(self) -> dict[str, Any]:
        return {
            "effect": self.effect,
            "sizes": list(self.sizes),
            "by_chance": list(self.by_chance),
            "by_time": self.by_time,
            "piece_rows": self.piece_rows,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """The inverse of ``to_dict``. Raises InvalidInput."""
        try:
            return cls(
                fields["effect"],
                tuple(fields["sizes"]),
                tuple(fields["by_chance"]),
                fields["by_time"],
                fields["piece_rows"],
            )
        except (KeyError, TypeError) as error:
            raise InvalidInput("not the noise of a column") from error


@dataclass(slots=True)
class Pieces:
    """How the rows of each column were counted piece by piece, in the order of the data, at most ``PIECES`` pieces.

    Told after each block of what all summaries have counted so far; when there are too many pieces, neighbours join.
    """

    _before: dict[str, Array] = field(default_factory=dict)
    _pieces: list[dict[str, Array]] = field(default_factory=list)
    _rows: list[int] = field(default_factory=list)
    _least_rows: int = 1

    def add(self, summaries: Mapping[str, Summary], rows: int) -> None:
        """A block of ``rows`` rows more has been counted in ``summaries``, whose cells stay the same throughout."""
        counted = {name: _fixed_counts(summary).copy() for name, summary in summaries.items()}
        grown = {name: counts - self._before.get(name, 0) for name, counts in counted.items()}
        self._before = counted
        if self._pieces and self._rows[-1] < self._least_rows:
            self._join(len(self._pieces) - 1, grown, rows)
        else:
            self._pieces.append(grown)
            self._rows.append(rows)
        if len(self._pieces) > PIECES:
            for at in range(0, len(self._pieces) - 1, 2):
                self._join(at, self._pieces[at + 1], self._rows[at + 1])
            self._pieces, self._rows = self._pieces[::2], self._rows[::2]
            self._least_rows = max(self._rows)

    def of(self, name: str) -> Array:
        """The counts of column ``name``, (pieces, cells), of whole pieces: a rest of a few rows differs by chance."""
        return np.stack([piece[name] for piece in self._whole if name in piece])

    def has(self, name: str) -> bool:
        """Whether column ``name`` was counted in every piece."""
        return all(name in piece and piece[name].sum() > 0 for piece in self._whole)

    @property
    def rows(self) -> int:
        """How many rows a piece has, about."""
        return int(np.median(self._rows)) if self._rows else 0

    @property
    def can_judge(self) -> bool:
        return len(self._whole) >= FEWEST_PIECES and self.rows >= FEWEST_PIECE_ROWS

    @property
    def _whole(self) -> list[dict[str, Array]]:
        return [piece for piece, rows in zip(self._pieces, self._rows, strict=True) if 2 * rows >= self.rows]

    def _join(self, at: int, grown: Mapping[str, Array], rows: int) -> None:
        piece = self._pieces[at]
        for name, counts in grown.items():
            piece[name] = piece.get(name, 0) + counts
        self._rows[at] += rows


def noise_of(name: str, summary: Summary, pieces: Pieces | None = None) -> Noise:
    """The noise of column ``name``, as its reference was counted in ``summary`` and, if by time, in ``pieces``."""
    called = effect_name(summary)
    counts = counts_of(summary)
    total = int(counts.sum())
    if not total:
        return Noise(called, (), ())
    random = np.random.default_rng(int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big"))
    chances = _shares(counts)
    found = []
    for size in SIZES:
        window = random.multinomial(size, chances, DRAWS)
        # The reference is a sample too: of few rows it is the larger part of the noise.
        reference = random.multinomial(total, chances, DRAWS)
        found.append(float(np.quantile(_effects(summary, reference, window), QUANTILE)))
    by_chance = Noise(called, SIZES, tuple(found))
    if pieces is None or not pieces.can_judge:
        return by_chance
    of_pieces = float(np.quantile(_effects(summary, _fixed_counts(summary), pieces.of(name)), QUANTILE))
    beyond = np.sqrt(max(0.0, of_pieces**2 - by_chance.chance(pieces.rows) ** 2))
    return replace(by_chance, by_time=float(beyond), piece_rows=pieces.rows)


def _effects(summary: Summary, reference: Array, window: Array) -> Array:
    """As ``effects.effect``, of many pairs of counts at once: (…, cells) each to (…,)."""
    if not isinstance(summary, NumericSummary):
        found: Array = np.abs(_shares(reference) - _shares(window)).sum(axis=-1) / 2
        return found
    apart = np.abs(np.cumsum(_shares(reference) - _shares(window), axis=-1)[..., :-1])
    moved: Array = (apart * np.diff(summary.centres)).sum(axis=-1)
    return moved / summary.sd if summary.sd > 0 else np.zeros_like(moved)


def _shares(counts: Array) -> Array:
    found: Array = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    return found


def _fixed_counts(summary: Summary) -> Array:
    """As ``counts_of``, of as many cells throughout: values that were not known beforehand are in the last."""
    return summary.counts if isinstance(summary, NumericSummary) else category_counts(summary, sorted(summary.known))
