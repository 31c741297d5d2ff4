"""The ladder of mixed precision: from the fastest choice, layer by layer, up to the original. Pure.

    step 0                     all layers as ``base``
    step k                     the k layers whose error matters most, one rung up
    step = number of matrices  every matrix as 8-bit blocks
    last step                  every layer as it was

What is lost falls with the step as good as always, so that the least step within a bound is found by bisection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from mlserve.quantize.layers import Kind, Layer


@dataclass(frozen=True, slots=True)
class Ladder:
    """``ranked`` layers, the most sensitive first, start as ``base`` and climb ``rungs`` in turn.

    Tables skip the rung of 8-bit blocks, which is what they are in any quantized kind.
    """

    ranked: Sequence[Layer]
    base: Kind
    rungs: Sequence[Kind]

    @property
    def moves(self) -> list[tuple[str, Kind]]:
        return [
            (layer.name, rung)
            for rung in self.rungs
            for layer in self.ranked
            if not (layer.is_table and rung is not Kind.FP32)
        ]

    def choice(self, step: int) -> dict[str, Kind]:
        """Every layer's kind after ``step`` moves."""
        chosen = {layer.name: Kind.W8 if layer.is_table else self.base for layer in self.ranked}
        return chosen | dict(self.moves[:step])


def rank(layers: Sequence[Layer], damage: Mapping[str, float]) -> list[Layer]:
    """``layers`` by what they do to the answers when quantized alone, the most first.

    Those that were not tried stand in the middle.

    >>> [layer.name for layer in rank([Layer(n, "MatMul", n, 1, 1) for n in "abcd"], {"a": 1.0, "b": 3.0, "c": 2.0})]
    ['b', 'c', 'd', 'a']
    """
    middle = median(damage.values()) if damage else 0.0
    return sorted(layers, key=lambda layer: damage.get(layer.name, middle), reverse=True)


def climb(
    steps: int,
    drop_at: Callable[[int], float | None],
    bound: float,
    *,
    start: int = 0,
) -> int | None:
    """The least step from ``start`` to ``steps`` whose drop is within ``bound``, by bisection; None where none is.

    ``drop_at`` measures; it answers None where the time is up, and then the least step known to hold is given.

    >>> climb(10, lambda step: 1 / (1 + step), 0.2)
    4
    """
    low, high, held = start, steps, None
    while low <= high:
        middle = (low + high) // 2
        drop = drop_at(middle)
        if drop is None:
            return held
        if drop <= bound:
            held, high = middle, middle - 1
        else:
            low = middle + 1
    return held
