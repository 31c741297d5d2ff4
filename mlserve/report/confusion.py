"""What the baseline decided against what a candidate decides, as cells that are coloured by how many they are. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST = 12
"""Labels that are shown by themselves; of more, those with the most differences."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A count; ``heat`` between 0 and 1 is its part of its row, its root, so that few are seen too."""

    count: int
    heat: float
    is_same: bool


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Labels, and for each that the baseline decided a row of cells, one for each that the candidate did."""

    labels: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left_out: int


def heat_map(labels: Sequence[object], counts: Sequence[Sequence[int]]) -> HeatMap:
    """The map of ``counts`` (labels, labels), baseline down and candidate across.

    Of more than ``MOST`` labels those are kept that take part in most differences, in their order, and the others are
    one, "others", which says of two of them only that they differ.

    >>> found = heat_map(["no", "yes"], [[90, 10], [0, 4]])
    >>> found.rows[0][1].count, round(found.rows[0][1].heat, 2), found.rows[1][0].heat
    (10, 0.32, 0.0)
    """
    shown, merged, left_out = _merged([str(label) for label in labels], counts)
    return HeatMap(
        tuple(shown),
        tuple(
            tuple(Cell(count, _heat(count, sum(row)), down == across) for across, count in enumerate(row))
            for down, row in enumerate(merged)
        ),
        left_out,
    )


def _heat(count: int, total: int) -> float:
    return float((count / total) ** 0.5) if total else 0.0


def _merged(labels: list[str], counts: Sequence[Sequence[int]]) -> tuple[list[str], list[list[int]], int]:
    size = len(labels)
    if size <= MOST:
        return labels, [list(row) for row in counts], 0
    differing = [sum(counts[i][j] + counts[j][i] for j in range(size) if j != i) for i in range(size)]
    kept = sorted(sorted(range(size), key=lambda i: -differing[i])[: MOST - 1])
    place = {label: number for number, label in enumerate(kept)}
    merged = [[0] * MOST for _ in range(MOST)]
    for i in range(size):
        for j in range(size):
            merged[place.get(i, MOST - 1)][place.get(j, MOST - 1)] += counts[i][j]
    return [*(labels[i] for i in kept), "others"], merged, size - len(kept)
