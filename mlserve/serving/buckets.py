"""Which requests of unlike length go together, and how their inputs become the arrays of one run.

Lengths fall into buckets whose edges grow by ``GROWTH``, so that a row is filled up by a bounded part of its length. A
batch is filled up to its own longest row, not to the edge: requests of equal length run as if there were no buckets.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import lru_cache
from math import ceil

import numpy as np

from mlserve.core.tensors import Signature
from mlserve.runtime.padding import Padding, axis_of
from mlserve.serving.seam import InputTensor

GROWTH = 1.25
"""From one edge to the next. No row is more than this times as long as it was, and most are filled up far less."""

Shape = tuple[int, ...]


@lru_cache(maxsize=4096)
def edge_of(length: int) -> int:
    """The smallest edge that is not below ``length``.

    >>> [edge_of(length) for length in (0, 1, 9, 24, 128)]
    [0, 1, 9, 24, 148]
    """
    edge = min(length, 1)
    while edge < length:
        edge = max(edge + 1, ceil(edge * GROWTH))
    return edge


class LengthBuckets:
    """The lengths of one model's requests, where ``padding`` was proven inert."""

    def __init__(self, signature: Signature, padding: Padding) -> None:
        self._mask = padding.mask
        self.places: Mapping[str, int | None] = {spec.name: axis_of(spec, padding.axis) for spec in signature.inputs}
        self.outputs = {name: axes for name, axes in padding.outputs.items() if axes}

    def key(self, inputs: Sequence[InputTensor], tails: Mapping[str, Shape]) -> Hashable:
        """What must be equal to share a run: the bucket, or the exact shapes where filling up was not proven.

        That is so for rows of which the mask hides everything, which attend to all elements alike, and for inputs of
        unequal length, which are the model's to refuse.
        """
        length = self.length_of(inputs)
        if any(tails[name][at - 1] != length for name, at in self.places.items() if at is not None):
            return None
        if length == 0 or not self._shows_every_row(inputs):
            return tuple(tails[name] for name in self.places)
        others = [
            tails[name] if at is None else (*tails[name][: at - 1], *tails[name][at:])
            for name, at in self.places.items()
        ]
        return edge_of(length), *others

    def length_of(self, inputs: Sequence[InputTensor]) -> int:
        """How long the rows of a request are."""
        return self._mask_of(inputs).shape[1]

    def _shows_every_row(self, inputs: Sequence[InputTensor]) -> bool:
        tensor = self._mask_of(inputs)
        values = tensor.values
        if isinstance(values, np.ndarray):
            return bool(values.any(axis=1).all())
        rows, length = tensor.shape
        return all(any(values[row * length : (row + 1) * length]) for row in range(rows))

    def _mask_of(self, inputs: Sequence[InputTensor]) -> InputTensor:
        return next(tensor for tensor in inputs if tensor.name == self._mask)
