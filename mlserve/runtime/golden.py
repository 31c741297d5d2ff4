"""Golden rows: inputs with the answers a version gave when it was registered, checked before it may serve.

Bytes of an ``.npz``: ``input/NAME`` and ``output/NAME``, rows on axis 0. Strings are stored as numpy's fixed-width
text and the types numpy has no name for as their bits; the signature says what to make of them.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlserve.core.dtypes import DType, from_numpy
from mlserve.core.tensors import TensorSpec
from mlserve.errors import CorruptArtefact, InvalidInput
from mlserve.runtime.closeness import Closeness, closeness
from mlserve.runtime.model import Arrays, OnnxModel
from mlserve.runtime.ortvalues import is_needed

INPUT, OUTPUT = "input/", "output/"

OTHER_MACHINE = 30.0
"""Kernels differ between machines and devices by more than between batch sizes: times ``closeness``'s allowance."""


def make_golden(model: OnnxModel, inputs: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """The golden rows that ``model`` makes of ``inputs``. Raises what ``run`` raises."""
    outputs = model.run(inputs)
    entries = {INPUT + name: _storable(array) for name, array in inputs.items()}
    entries |= {OUTPUT + name: _storable(array) for name, array in outputs.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **entries)
    return buffer.getvalue()


def read_golden(content: bytes, model: OnnxModel) -> tuple[Arrays, Arrays]:
    """Inputs and outputs of golden rows, in the types of the model's signature. Raises CorruptArtefact."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            stored = {name: archive[name] for name in archive.files}
        return _typed(stored, INPUT, model.signature.inputs), _typed(stored, OUTPUT, model.signature.outputs)
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise CorruptArtefact(f"the golden rows cannot be read: {error}") from error


def golden_rows(content: bytes) -> int:
    """How many golden rows there are, 0 where they cannot be read; of scalars one."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            shapes = [archive[name].shape for name in archive.files if name.startswith(INPUT)]
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile):
        return 0
    return max((shape[0] if shape else 1 for shape in shapes), default=0)


def check_golden(model: OnnxModel, content: bytes) -> Closeness:
    """How close ``model`` still comes to its golden answers. Raises InvalidInput where it does not, CorruptArtefact."""
    inputs, expected = read_golden(content, model)
    actual = model.run(inputs, list(expected))
    seen = closeness(expected, actual, allowance=OTHER_MACHINE)
    if not seen.is_close:
        raise InvalidInput(
            f"the golden rows get other answers than when they were registered (off by {seen.max_abs:g})"
        )
    return seen


def _storable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if array.dtype.kind == "O":
        return array.astype(str)
    return array.view(f"u{array.dtype.itemsize}") if is_needed(from_numpy(array.dtype)) else array


def _typed(stored: Mapping[str, np.ndarray[Any, Any]], prefix: str, specs: Sequence[TensorSpec]) -> Arrays:
    return {spec.name: _restored(stored[prefix + spec.name], spec.dtype) for spec in specs}


def _restored(array: np.ndarray[Any, Any], dtype: DType) -> np.ndarray[Any, Any]:
    if dtype is DType.STRING:
        return array.astype(object)
    if is_needed(dtype):
        return array.view(dtype.numpy)
    if array.dtype != dtype.numpy:
        raise ValueError(f"{array.dtype} where the model has {dtype.value}")
    return array
