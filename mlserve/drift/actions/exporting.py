"""The exact window of a check as a Parquet file for who trains again: inputs, labels, times; streamed, with a digest.

The file reads as data of the model: a column an input, or a column a feature where one 2-D input is all and its names
are known, with ``label`` and ``time`` where rows have them. Only sampled traffic has a column more: ``weight``, how
many rows each stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from mlserve.core.digests import digest_file
from mlserve.drift.blocks import Block
from mlserve.rows.parquet_writing import ParquetRows
from mlserve.rows.tables import Array


def export_window(path: Path, blocks: Iterable[Block], names: Mapping[str, Sequence[str]]) -> tuple[int, str]:
    """Write ``blocks`` to ``path``, whole or not at all: how many rows, and the file's digest.

    Raises InvalidInput for rows that fit no table, and for a folder that cannot be written or a full disk.
    """
    rows = 0
    with ParquetRows(path) as table:
        for block in blocks:
            table.add(columns_of(block, names))
            rows += block.rows
    return rows, digest_file(path)


def columns_of(block: Block, names: Mapping[str, Sequence[str]]) -> dict[str, Array]:
    """The columns of ``block``, rows on axis 0."""
    columns: dict[str, Array] = {}
    for name, array in block.inputs.items():
        features = names.get(name, ())
        if len(block.inputs) == 1 and array.ndim == 2 and array.shape[1] == len(features):
            columns |= {feature: array[:, i] for i, feature in enumerate(features)}
        elif array.ndim:
            # A list of one is nothing that a table's reader wants to see, and reads back as the same tensor.
            columns[name] = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    columns |= {name: values for name, values in block.columns.items() if name not in columns}
    if block.labels is not None:
        columns["label"] = block.labels
    if block.times is not None:
        columns["time"] = block.times
    if block.weights is not None:
        columns["weight"] = np.asarray(block.weights, np.float64)
    return columns
