"""Weights as integers: in blocks that share a scale, or a scale for each output channel. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Bits = Literal[4, 8]


@dataclass(frozen=True, slots=True)
class Blocks:
    """Rows in blocks of ``size`` along their length: ``(code - 2 ** (bits - 1)) * scale`` is a value.

    ``codes`` is (rows, blocks, bytes of a block) unsigned, two 4-bit codes a byte with the earlier one in the low half;
    ``scales`` is (rows, blocks). The last block is filled up with zeros.
    """

    codes: Array
    scales: Array
    bits: Bits
    size: int

    @property
    def nbytes(self) -> int:
        return int(self.codes.nbytes + self.scales.nbytes)


def to_blocks(rows: Array, *, bits: Bits, size: int) -> Blocks:
    """``rows`` (rows, length) as integers, symmetric around zero; the largest of a block takes the outermost code.

    The layout is that of the weights of ``MatMulNBits``. Source: ONNX Runtime, ContribOperators.md.

    >>> made = to_blocks(np.array([[1.0, -2.0]], np.float32), bits=8, size=2)
    >>> made.codes.tolist(), made.scales.tolist()
    ([[[64, 0]]], [[0.015625]])
    """
    count, length = rows.shape
    held = -(-length // size)
    padded = np.zeros((count, held * size), np.float32)
    padded[:, :length] = rows
    parts = padded.reshape(count, held, size)
    half = 2 ** (bits - 1)
    # Signed, so that the value of the largest magnitude is the one code that has no counterpart: -2 ** (bits - 1).
    most, least = parts.max(axis=2), parts.min(axis=2)
    scales = (np.where(most > -least, most, least) / -half).astype(np.float32)
    inverse = np.divide(1.0, scales, out=np.zeros_like(scales), where=scales != 0)
    codes = (np.clip(np.rint(parts * inverse[..., np.newaxis]), -half, half - 1) + half).astype(np.uint8)
    if bits == 4:
        codes = codes[..., ::2] | (codes[..., 1::2] << 4)
    return Blocks(codes, scales, bits, size)


def to_channels(matrix: Array) -> tuple[Array, Array]:
    """``matrix`` (inputs, outputs) as INT8 with a scale for each output, (outputs,); symmetric, without -128.

    >>> codes, scales = to_channels(np.array([[127.0, 0.0], [-254.0, 0.0]], np.float32))
    >>> codes.tolist(), scales.tolist()
    ([[64, 0], [-127, 0]], [2.0, 0.0])
    """
    scales = (np.abs(matrix).max(axis=0) / 127).astype(np.float32)
    inverse = np.divide(1.0, scales, out=np.zeros_like(scales), where=scales != 0)
    return np.clip(np.rint(matrix * inverse), -127, 127).astype(np.int8), scales
