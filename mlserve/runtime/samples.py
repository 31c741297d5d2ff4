"""Made-up inputs that fit a signature, for warm-up and for the probe, where nobody gave real ones.

They are meant to run through, not to mean anything: small indices for integers, rows of unlike magnitude for floats,
so that whatever is taken over the whole batch shows. A model may refuse them; that is not the model's fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mlserve.core.dtypes import DType
from mlserve.core.tensors import Signature, TensorSpec

FREE_AXIS = 8
"""The length given to dynamic axes other than the batch."""

ROW_SCALES = (1.0, 0.1, 10.0, 3.0)
_WORDS = ("", "a", "mlserve", "naïve words", "a text of many words, for models that read them all " * 3)
"""Of unlike length: rows of a text model are filled up to the longest of the batch."""


def synthetic_inputs(
    signature: Signature, rows: int, seed: int, *, lengths: Mapping[str, int] | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays for every input, axis 0 of ``rows`` where it is dynamic; row i is the same for every ``rows`` above i.

    ``lengths`` are those of other dynamic axes by name, ``FREE_AXIS`` for the rest.
    """
    known = lengths or {}
    return {spec.name: _tensor(spec, rows, seed + number, known) for number, spec in enumerate(signature.inputs)}


def _tensor(spec: TensorSpec, rows: int, seed: int, lengths: Mapping[str, int]) -> np.ndarray[Any, Any]:
    if not spec.dims or isinstance(spec.dims[0], int):
        shape = tuple(_length(dim, lengths) for dim in spec.dims)
        return _values(spec, shape, np.random.default_rng([seed]), 1.0)
    tail = tuple(_length(dim, lengths) for dim in spec.dims[1:])
    parts = [
        _values(spec, tail, np.random.default_rng([seed, row]), ROW_SCALES[row % len(ROW_SCALES)])
        for row in range(rows)
    ]
    return np.stack(parts) if parts else np.empty((0, *tail), spec.dtype.numpy)


def _length(dim: int | str | None, lengths: Mapping[str, int]) -> int:
    if isinstance(dim, int):
        return dim
    return FREE_AXIS if dim is None else lengths.get(dim, FREE_AXIS)


def _values(spec: TensorSpec, shape: tuple[int, ...], rng: np.random.Generator, scale: float) -> np.ndarray[Any, Any]:
    dtype = spec.dtype
    if dtype is DType.STRING:
        words = np.empty(shape, object)
        words[...] = rng.choice(np.array(_WORDS, object), shape)
        return words
    if dtype is DType.BOOL:
        return np.asarray(rng.random(shape) < 0.5)
    if dtype.is_integer:
        # Masks and token types are 0 or 1; token ids and other indices are small enough for any table.
        top = 2 if any(word in spec.name.lower() for word in ("mask", "type", "segment")) else 8
        top = min(top, 2) if dtype.itemsize < 1 else top
        return np.asarray(rng.integers(0, top, shape)).astype(dtype.numpy)
    return np.asarray(rng.standard_normal(shape) * scale).astype(dtype.numpy)
