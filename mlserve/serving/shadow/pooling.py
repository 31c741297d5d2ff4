"""Few large pairs of answers in place of many small ones: comparing a thousand rows costs hardly more than one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from mlserve.compare.pairs import Array, Pairs


def pooled(parts: Sequence[Pairs]) -> list[Pairs]:
    """The same rows in as few as their shapes allow, those of one shape in their order. Without labels and groups."""
    groups: dict[Hashable, list[Pairs]] = {}
    for pairs in parts:
        groups.setdefault((_shape(pairs.inputs), _shape(pairs.expected), _shape(pairs.actual)), []).append(pairs)
    return [_joined(group) for group in groups.values()]


def _shape(arrays: Mapping[str, Array]) -> Hashable:
    return tuple((name, array.dtype.str, array.dtype.name, array.shape[1:]) for name, array in arrays.items())


def _joined(group: Sequence[Pairs]) -> Pairs:
    if len(group) == 1:
        return group[0]
    firsts = None
    if any(pairs.first_rows is not None for pairs in group):
        zeros = (
            np.zeros(len(pairs.rows_each), np.int64) if pairs.first_rows is None else pairs.first_rows
            for pairs in group
        )
        firsts = np.concatenate(list(zeros))
    return Pairs(
        [name for pairs in group for name in pairs.request_ids],
        np.concatenate([pairs.rows_each for pairs in group]),
        _stacked([pairs.expected for pairs in group]),
        _stacked([pairs.actual for pairs in group]),
        _stacked([pairs.inputs for pairs in group]),
        first_rows=firsts,
    )


def _stacked(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
